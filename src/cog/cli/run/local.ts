import { statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { CodedError, isCodedError } from "../../../errors/index.ts";
import { type Project, readProject } from "../../project.ts";
import type { RunningServer } from "../../serve.ts";
import { Failure } from "../failure.ts";
import type { ModelDocument } from "../input/schema.ts";

export interface LocalOptions {
  /** `-f` */
  config: string | undefined;
  /** The entry that is needed; undefined: any. */
  mode: "predict" | "train" | undefined;
  /** `-e NAME=value` words */
  env: readonly string[];
  debug: boolean;
  /** `-o` */
  output?: string | undefined;
}

/** A project in or above the working directory, and the environment its model gets. */
export interface LocalModel {
  project: Project;
  env: NodeJS.ProcessEnv;
  mode: "predict" | "train";
  debug: boolean;
}

/** Reads the project around the working directory. @throws CodedError, or Failure when it lacks the entry asked for */
export function localModel(options: LocalOptions): LocalModel {
  const env = { ...process.env, ...outputFolder(options), ...environment(options.env), ...logSettings(options) };
  const project = readProject(process.cwd(), { file: options.config, env });
  const mode = options.mode ?? (project.predict === null ? "train" : "predict");
  if (project[mode] === null)
    throw new Failure(`${project.configFile ?? "cog.yaml"} names no ${mode} entry`, {
      hint: `Add the line "${mode}: ${mode}.ts".`,
    });
  return { project, env, mode, debug: options.debug };
}

/** Starts the project's own server, for this command alone, on a free port of the loopback address. */
export async function startLocalServer(
  { project, env, mode, debug }: LocalModel,
  { holdSetup = false } = {},
): Promise<RunningServer> {
  // Loaded here and not above: a run at an address, and a wrong input, need no server.
  const { startServer } = await import("../../serve.ts");
  const configFile = project.configFile ?? undefined;
  return startServer({
    projectDir: project.dir,
    configFile,
    mode,
    host: "127.0.0.1",
    port: 0,
    env,
    authorLogOnly: !debug,
    holdSetup,
  });
}

/**
 * What the model of a server started here declares; its setup may still go on. @throws CodedError or Failure when the
 * declarations cannot be loaded
 */
export async function declaredBy(server: RunningServer, signal: AbortSignal): Promise<ModelDocument> {
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
  try {
    return (await Promise.race([server.document, aborted])) as ModelDocument;
  } catch (error) {
    if (signal.aborted || isCodedError(error)) throw error;
    throw new Failure((error as Error).message, { cause: error });
  }
}

/**
 * The name of the archive that a project's trainings write: the key `train_output` of cog.yaml, which other clients pass over.
 * Without it a training's result goes where other clients put it.
 */
export function archiveName({ configFile, config }: Project): string | undefined {
  const name = config.train_output;
  if (name === undefined || name === null) return undefined;
  if (typeof name !== "string" || !/^[^/\\\0]*[^/\\.\0]$/.test(name))
    throw new CodedError("PROJECT_CONFIG", `${configFile}: train_output must be the name of a file, without a folder`);
  return name;
}

/** Text on this terminal. A training's own lines are its progress and are shown; a prediction's are not, as with other clients. */
function logSettings({ mode, debug }: LocalOptions): NodeJS.ProcessEnv {
  return { LOG_FORMAT: "console", COG_LOG_LEVEL: debug ? "debug" : mode === "train" ? "info" : "warning" };
}

/** The folder that the command will write into: a model may make sure of its room before it works for hours. */
function outputFolder({ output = "." }: LocalOptions): NodeJS.ProcessEnv {
  const path = resolve(output);
  const isFolder = statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
  return { COG_OUTPUT_DIR: isFolder ? path : dirname(path) };
}

/** `NAME=value` words; a bare NAME hands nothing on that a process started here would not have anyway. */
export function environment(words: readonly string[]): Record<string, string> {
  const pairs = words.map((word) => /^([^=]+)=([\s\S]*)$/.exec(word)).filter((match) => match !== null);
  return Object.fromEntries(pairs.map(([, name, value]) => [name, value]));
}

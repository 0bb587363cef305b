import { randomBytes } from "node:crypto";
import { statSync } from "node:fs";
import { rm } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { isCodedError } from "../../../errors/index.ts";
import { temporaryFolder } from "../../../temporary/folders.ts";
import { Failure } from "../../../terminal/failure.ts";
import { LocalFiles } from "../../files/local-files.ts";
import { extensionFor, mediaTypeOf } from "../../media-types.ts";
import { type Project, readProject } from "../../project.ts";
import type { RunningServer } from "../../serve.ts";
import { FilesByPath } from "../input/files-by-path.ts";
import type { ModelDocument } from "../input/schema.ts";
import type { LiveLine } from "../live/live-line.ts";
import { type AnsweredFile, parseDataUrl, type ReadAnswered } from "../output/data-url.ts";
import { ModelClient } from "./client.ts";

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
  /** Draws the run's metrics; the log's lines go through it. */
  live?: LiveLine | undefined;
}

/** A project in or above the working directory, and the environment its model gets. */
export interface LocalModel {
  project: Project;
  env: NodeJS.ProcessEnv;
  mode: "predict" | "train";
  debug: boolean;
  live: LiveLine | undefined;
}

/** Reads the project around the working directory. @throws CodedError, or Failure when it lacks the entry asked for */
export function localModel(options: LocalOptions): LocalModel {
  const live = options.live === undefined ? {} : { COG_LIVE_METRICS: "1" };
  const env = {
    ...process.env,
    ...outputFolder(options),
    ...live,
    ...environment(options.env),
    ...logSettings(options),
  };
  const project = readProject(process.cwd(), { file: options.config, env });
  const mode = options.mode ?? (project.predict === null ? "train" : "predict");
  if (project[mode] === null)
    throw new Failure(`${project.configFile ?? "cog.yaml"} names no ${mode} entry`, {
      hint: `Add the line "${mode}: ${mode}.ts".`,
    });
  return { project, env, mode, debug: options.debug, live: options.live };
}

/** The project's own server and what only this command has: its token, and the files handed to it by path. */
export interface LocalServer {
  server: RunningServer;
  client: ModelClient;
  files: FilesByPath;
  /** Reads what its answers name. */
  answered: ReadAnswered;
  /** Cancels what runs, ends the server, and removes what the command wrote for it. */
  close(): Promise<void>;
}

/** Starts the project's own server, for this command alone, on a free port of the loopback address. */
export async function startLocalServer(
  { project, env, mode, debug, live }: LocalModel,
  { holdSetup = false, outputsByPath = false } = {},
): Promise<LocalServer> {
  // Loaded here and not above: a run at an address, and a wrong input, need no server.
  const { startServer } = await import("../../serve.ts");
  const configFile = project.configFile ?? undefined;
  const outputs = outputsByPath ? await temporaryFolder("outputs") : null;
  const localFiles = new LocalFiles(outputs);
  const token = randomBytes(16).toString("base64url");
  const server = await startServer({
    projectDir: project.dir,
    configFile,
    mode,
    host: "127.0.0.1",
    port: 0,
    // The port is open to everyone on this machine; the model is not.
    env: { ...graceOf(mode), ...env, COG_AUTH_TOKEN: token },
    localFiles,
    authorLogOnly: !debug,
    logOutput: live,
    holdSetup,
  });
  const files = new FilesByPath(localFiles);
  const close = async () => {
    await server.close({ abort: true });
    await files.close();
    if (outputs !== null) await rm(outputs, { recursive: true, force: true });
  };
  const answered = (text: unknown) => keptFile(localFiles, text) ?? parseDataUrl(text);
  return { server, client: new ModelClient(server.url, token), files, answered, close };
}

/** A trainer that is stopped may finish its step: whoever does not want to wait presses Ctrl-C again. */
function graceOf(mode: "predict" | "train"): NodeJS.ProcessEnv {
  return mode === "train" ? { COG_CANCEL_GRACE: "600" } : {};
}

function keptFile(files: LocalFiles, text: unknown): AnsweredFile | undefined {
  const file = typeof text === "string" ? files.kept(text) : undefined;
  return file && { content: { path: file.path }, extension: extensionFor(mediaTypeOf(file.name)) };
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

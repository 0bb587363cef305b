import { existsSync, readFileSync } from "node:fs";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { parse } from "yaml";
import { CodedError } from "../errors/index.ts";
import { ConfigReader } from "./project-keys.ts";

/** Where an author's code lies: the `predict.ts:name` of cog.yaml, resolved. */
export interface Reference {
  /** Absolute path of the module. */
  readonly file: string;
  /** Its export: "default" where the reference names none. */
  readonly name: string;
}

/** What a project's cog.yaml says (spec: keys of Cog 0.23; unknown keys are ignored as Cog does). */
export interface Project {
  /** The folder that holds cog.yaml; the author's relative paths start here. */
  readonly dir: string;
  /** Absolute path of cog.yaml; null where the environment alone names the references. */
  readonly configFile: string | null;
  readonly predict: Reference | null;
  readonly train: Reference | null;
  readonly image: string | null;
  readonly gpu: boolean;
  /** train_output: name of the file that a training writes; null: other clients' names. */
  readonly trainOutput: string | null;
  /** concurrency.max */
  readonly concurrency: number | null;
  /** `environment`: defaults for the author's process; the real environment wins. */
  readonly environment: ReadonlyMap<string, string>;
  /** The whole parsed file, for labels. */
  readonly config: Readonly<Record<string, unknown>>;
}

export interface ReadProjectOptions {
  /** The file's name, or a path; default "cog.yaml". A bare name is searched for upwards from `dir`. */
  file?: string;
  /** COG_PREDICT_TYPE_STUB and COG_TRAIN_TYPE_STUB win over the file. Default: process.env. */
  env?: NodeJS.ProcessEnv;
}

/**
 * Reads the project around `dir`: its own cog.yaml or that of the nearest parent folder.
 * @throws CodedError PROJECT_CONFIG when there is none (and the environment names no reference) or a value is not possible
 */
export function readProject(dir: string, options: ReadProjectOptions = {}): Project {
  const env = options.env ?? process.env;
  const name = options.file ?? "cog.yaml";
  const stubs = { predict: env.COG_PREDICT_TYPE_STUB || null, train: env.COG_TRAIN_TYPE_STUB || null };
  const configFile = findConfig(resolve(dir), name);
  if (configFile === null && stubs.predict === null && stubs.train === null) {
    throw new CodedError("PROJECT_CONFIG", `${name} not found in ${resolve(dir)} (or in any parent directories)`, {
      hint: "run the command in a project's folder, or make one with `cog init`",
    });
  }
  const config = configFile === null ? {} : parseConfig(configFile);
  const home = configFile === null ? resolve(dir) : dirname(configFile);
  const file = new ConfigReader(configFile ?? name, config);
  if (config.run != null && config.predict != null) {
    throw new CodedError("PROJECT_CONFIG", "invalid run: only one of run or predict can be set");
  }
  return {
    dir: home,
    configFile,
    predict: reference(stubs.predict ?? file.text("predict") ?? file.text("run"), home, {
      kind: "predict",
      source: stubs.predict === null ? "predict" : "COG_PREDICT_TYPE_STUB",
    }),
    train: reference(stubs.train ?? file.text("train"), home, {
      kind: "train",
      source: stubs.train === null ? "train" : "COG_TRAIN_TYPE_STUB",
    }),
    image: file.text("image"),
    gpu: file.section("build").gpu === true,
    trainOutput: file.trainOutput(),
    concurrency: file.concurrency(),
    environment: file.environment(),
    config,
  };
}

function findConfig(dir: string, name: string): string | null {
  if (name.includes("/")) {
    const path = resolve(dir, name);
    return existsSync(path) ? path : null;
  }
  for (let folder = dir; ; folder = dirname(folder)) {
    const path = join(folder, name);
    if (existsSync(path)) return path;
    if (dirname(folder) === folder) return null;
  }
}

function parseConfig(path: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = parse(readFileSync(path, "utf8"));
  } catch (error) {
    throw new CodedError("PROJECT_CONFIG", `${path}: ${(error as Error).message.split("\n")[0]}`, { cause: error });
  }
  if (value === null || value === undefined) return {};
  if (typeof value !== "object" || Array.isArray(value)) {
    throw new CodedError("PROJECT_CONFIG", `${path}: must hold keys and values`);
  }
  return value as Record<string, unknown>;
}

const modulePattern = /\.(?:ts|mts|js|mjs)$/;

/** `source`: the key or the variable that names it. */
function reference(
  text: string | null,
  dir: string,
  { kind, source }: { kind: string; source: string },
): Reference | null {
  if (text === null) return null;
  const colon = text.lastIndexOf(":");
  const path = colon < 0 ? text : text.slice(0, colon);
  const name = colon < 0 ? "default" : text.slice(colon + 1);
  if (!modulePattern.test(path) || name === "") {
    throw new CodedError("PROJECT_CONFIG", `invalid ${source} ${JSON.stringify(text)}`, {
      hint: `write it as '${kind}.ts' or '${kind}.ts:name'`,
    });
  }
  return { file: isAbsolute(path) ? path : join(dir, path), name };
}

import { closeSync, openSync, rmSync, statSync } from "node:fs";
import { basename, dirname, extname, join, resolve } from "node:path";
import { pathBeside } from "../../../temporary/beside.ts";
import { Failure } from "../../../terminal/failure.ts";

/** Where a run's results go. Worked out before the run: a training of hours must not end at a folder that is not there. */
export interface Destination {
  /** The file for text and JSON; undefined: standard output. */
  text: string | undefined;
  /** The path of a file output, its extension still to be appended where it has none. */
  fileBase: string;
  /** A single file of a training goes exactly here: the project named its archive. */
  archive: string | undefined;
}

export interface DestinationOptions {
  /** `-o` */
  output: string | undefined;
  /** The name for results without `-o`: "output" ("output.json" in JSON mode), "weights" for trainings. */
  base: "output" | "weights";
  /** JSON mode: the text is the whole answer. */
  json: boolean;
  /** The name that cog.yaml gives to what a training writes (`train_output`). */
  archiveName: string | null;
}

/** @throws Failure when the place cannot be written to, or is a folder called `weights` (a model's own weights are read there) */
export function destination({ output, base, json, archiveName }: DestinationOptions): Destination {
  if (archiveName !== null) return archiveDestination(output, archiveName, json);
  const suffix = json ? ".json" : "";
  if (output === undefined) {
    if (base === "weights") {
      const text = json ? undefined : checked(isFolder("weights") ? "weights.json" : "weights");
      return { text, fileBase: "weights", archive: undefined };
    }
    const name = `output${suffix}`;
    if (isFolder(name)) throw notWritable(`Default output name "${name}" conflicts with directory, provide --output`);
    return { text: undefined, fileBase: "output", archive: undefined };
  }
  if (isFolder(output)) {
    if (base === "weights") refuseWeightsFolder(output);
    return { text: checked(join(output, `output${suffix}`)), fileBase: join(output, "output"), archive: undefined };
  }
  const fileBase = json && extname(output) === ".json" ? output.slice(0, -".json".length) : output;
  return { text: checked(output), fileBase, archive: undefined };
}

/** The file that a run will write over, if it is there: a training of hours is worth a word before it begins. */
export function overwritten({ archive, text }: Destination): string | undefined {
  const path = archive ?? text;
  return path !== undefined && statSync(path, { throwIfNoEntry: false })?.isFile() ? path : undefined;
}

function archiveDestination(output: string | undefined, name: string, json: boolean): Destination {
  const ending = /(\.tar)?\.[^.]+$/.exec(name)?.[0] ?? "";
  let path = output ?? name;
  if (output !== undefined && isFolder(output)) {
    refuseWeightsFolder(output);
    path = join(output, name);
  } else if (output !== undefined && !output.endsWith(ending) && !(ending === ".tar.gz" && output.endsWith(".tgz"))) {
    path = output + ending;
  }
  if (isFolder(path)) throw notWritable(`${path} is a directory`);
  // The archive has the name that was given: the answer is printed.
  const text = json ? undefined : `${path.slice(0, path.length - ending.length) || path}.json`;
  return { text, fileBase: path, archive: checked(path) };
}

function refuseWeightsFolder(folder: string): void {
  if (basename(resolve(folder)) !== "weights") return;
  throw notWritable("the folder weights/ holds the model's own weights; choose another --output");
}

/** `name` with `part` before its extension, or with the extension of the media type appended: `out.0.png`, `weights.bin`. */
export function fileName(base: string, extension: string, part?: string | number): string {
  const own = extname(base);
  const named = own !== "" && !/^\.\d*$/.test(own);
  const stem = named ? base.slice(0, -own.length) : base;
  return `${stem}${part === undefined ? "" : `.${part}`}${named ? own : extension}`;
}

function checked(path: string): string {
  const trial = pathBeside(path);
  try {
    // Asking for permission says nothing of a quota, of a disk without a free entry, or to root.
    closeSync(openSync(trial, "wx"));
    rmSync(trial);
  } catch {
    throw notWritable(`Output directory is not writable: ${dirname(path)}`);
  }
  return path;
}

function notWritable(reason: string): Failure {
  return new Failure(`Output path is not writable: ${reason}`);
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

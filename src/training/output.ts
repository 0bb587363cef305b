import { mkdtemp, open, rm, stat, statfs } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import type { AdapterModule, EngineModel } from "../engine/engine.ts";
import { CodedError } from "../errors/index.ts";
import { writeAdapterArchive, writeAdapterFolder } from "../llama/adapter/index.ts";
import { adapterBytes } from "./adapter-layout.ts";
import type { RunFacts } from "./record/facts.ts";
import { recordFiles } from "./record/files.ts";
import { megabytesText } from "./report/units.ts";
import type { TrainedAdapter, TrainingOutput } from "./train-lora.ts";
import { faultOf } from "./verify.ts";

export interface OutputOptions {
  readonly model: EngineModel;
  /** The adapter as it starts: the one that is written will be of its size. */
  readonly modules: readonly AdapterModule[];
  /** Where the archive goes once it is returned, where that is known. */
  readonly destination?: string | undefined;
  /** Written beside the adapter, with the run's losses. */
  readonly facts?: RunFacts | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Headers, the config, and a file system's own needs. */
const slackBytes = 1 << 20;

/** The archive of a training, whose place is known to be good before the first step. */
export class AdapterOutput implements TrainingOutput {
  readonly #file: string;
  readonly #options: OutputOptions;

  private constructor(file: string, options: OutputOptions) {
    this.#file = file;
    this.#options = options;
  }

  /** @throws TRAINING_OUTPUT where `folder`, or the destination, has no room for the archive or cannot be written to */
  static async open(folder: string, options: OutputOptions): Promise<AdapterOutput> {
    const { modules, destination } = options;
    const bytes = adapterBytes(modules);
    // Its tensors, the archive, and the tensors unpacked again to be compared.
    const places = [folder, folder, tmpdir()].map((path) => ({ path, name: "the temporary folder (TMPDIR)" }));
    if (destination !== undefined) places.push({ path: destination, name: destination });
    await requireRoom(places, bytes);
    const file = join(folder, "adapter.tar.gz");
    try {
      await (await open(file, "w")).close();
    } catch (cause) {
      throw failure(`the training's output cannot be opened in the temporary folder: ${reason(cause)}`, cause);
    }
    return new AdapterOutput(file, options);
  }

  /**
   * Writes the archive and checks it as a server would open it; returns its path. Whatever fails, the adapter stays
   * somewhere, and the error says where.
   * @throws TRAINING_DIVERGED, TRAINING_OUTPUT
   */
  async write(result: TrainedAdapter): Promise<string> {
    const { model, signal } = this.#options;
    const { modules } = result.adapter;
    if (!modules.every(({ a, b }) => a.every(Number.isFinite) && b.every(Number.isFinite))) {
      throw diverged("the trained adapter holds numbers that are not finite; nothing was written");
    }
    try {
      await writeAdapterArchive(this.#file, result.adapter, model.config, this.#notes(result));
    } catch (cause) {
      const message = `the training has ended, but its archive cannot be written: ${reason(cause)}`;
      throw failure(`${message}; ${await this.#keep(result)}`, cause);
    }
    const fault = await faultOf(this.#file, result, model, signal);
    if (fault !== null) throw diverged(`${fault}; ${await this.#keep(result)}`);
    return this.#file;
  }

  #notes(result: TrainedAdapter) {
    const { facts } = this.#options;
    return facts === undefined ? [] : recordFiles(result, facts);
  }

  /** Writes PEFT's folder to the first place that takes it; tells which. */
  async #keep(result: TrainedAdapter): Promise<string> {
    for (const place of [tmpdir(), homedir(), process.cwd()]) {
      let folder: string | undefined;
      try {
        folder = await mkdtemp(join(place, "kept-adapter-"));
        await writeAdapterFolder(folder, result.adapter, this.#options.model.config, this.#notes(result));
        return `the adapter is kept in ${folder}`;
      } catch {
        // The next place may have room.
        if (folder !== undefined) await rm(folder, { recursive: true, force: true });
      }
    }
    return "no other place took the adapter";
  }
}

/** Each of `places` will hold an adapter more; those on one file system share its room. */
async function requireRoom(places: readonly { path: string; name: string }[], bytes: number): Promise<void> {
  const needed = new Map<number, number>();
  for (const { path, name } of places) {
    try {
      const { dev } = await stat(path);
      const wanted = (needed.get(dev) ?? slackBytes) + bytes;
      needed.set(dev, wanted);
      const { bavail, bsize } = await statfs(path);
      const free = bavail * bsize;
      if (free < wanted) {
        const message = `the training's adapter needs ${megabytesText(wanted)} in ${name}, which has ${megabytesText(free)} free`;
        throw failure(message);
      }
    } catch (cause) {
      if (cause instanceof CodedError) throw cause;
      throw failure(`the training cannot use ${name}: ${reason(cause)}`, cause);
    }
  }
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function failure(message: string, cause?: unknown): CodedError {
  return new CodedError("TRAINING_OUTPUT", message, { hint: "Free space, or choose another folder.", cause });
}

function diverged(message: string): CodedError {
  return new CodedError("TRAINING_DIVERGED", message, { hint: "Try a lower learning_rate." });
}

import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { CodedError } from "../../../errors/index.ts";
import { readPytorchHeader } from "../pytorch/read.ts";
import { pytorchErrors } from "../pytorch/refusal.ts";
import type { PytorchEntry } from "../pytorch/tensors.ts";
import { checkpointErrors, headerLimit, readSafetensorsHeader } from "../safetensors.ts";

/** One file of a model that was cut for so many GPUs: every file holds a part of every tensor. */
export interface MetaShard {
  readonly file: string;
  readonly tensors: ReadonlyMap<string, PytorchEntry>;
}

const shardName = /^consolidated\.(\d{1,4})\.pth$/;
const singleNames = ["consolidated.safetensors", "consolidated.pth"];

/** Whether weights as Meta writes them are among these files. */
export function holdsMetaWeights(names: readonly string[]): boolean {
  return names.some((name) => shardName.test(name) || singleNames.includes(name));
}

/**
 * The headers of consolidated.00.pth and those after it, or of Mistral's consolidated.safetensors.
 * Throws CHECKPOINT_NOT_FOUND naming a file that is missing, CHECKPOINT_CORRUPT, CHECKPOINT_UNSUPPORTED.
 */
export async function readShards(folder: string, layers: number): Promise<MetaShard[]> {
  const mostBytes = headerLimit(16 * layers);
  const shards: MetaShard[] = [];
  for (const name of shardFiles(folder, await readdir(folder))) {
    const file = join(folder, name);
    shards.push({ file, tensors: await readHeader(file, mostBytes) });
  }
  return shards;
}

function shardFiles(folder: string, names: readonly string[]): string[] {
  const numbered = new Map(names.flatMap((name) => (shardName.test(name) ? [[numberOf(name), name] as const] : [])));
  if (numbered.size === 0) {
    const single = singleNames.find((name) => names.includes(name));
    if (single !== undefined) return [single];
    throw missing(join(folder, "consolidated.00.pth"));
  }
  return Array.from({ length: numbered.size }, (_, i) => {
    const name = numbered.get(i);
    if (name === undefined) throw missing(join(folder, `consolidated.${String(i).padStart(2, "0")}.pth`));
    return name;
  });
}

export function missing(file: string): CodedError {
  return new CodedError("CHECKPOINT_NOT_FOUND", `${file}: no such file`, {
    hint: "Download the missing consolidated files of the model into the same folder",
  });
}

function numberOf(name: string): number {
  return Number(shardName.exec(name)![1]);
}

async function readHeader(file: string, mostBytes: number): Promise<ReadonlyMap<string, PytorchEntry>> {
  if (!file.endsWith(".safetensors")) return readPytorchHeader(file, pytorchErrors, mostBytes);
  const { tensors } = await readSafetensorsHeader(file, checkpointErrors, mostBytes);
  return new Map([...tensors].map(([name, entry]) => [name, { ...entry, strides: null }]));
}

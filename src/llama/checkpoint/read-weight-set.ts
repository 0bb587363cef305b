import { join } from "node:path";
import { CodedError } from "../../errors/index.ts";
import { readRegularFile } from "../regular-file.ts";
import { readPytorchHeader } from "./pytorch/read.ts";
import { pytorchErrors } from "./pytorch/refusal.ts";
import type { PytorchEntry } from "./pytorch/tensors.ts";
import { checkpointErrors, readSafetensorsHeader, type SafetensorsEntry } from "./safetensors.ts";
import { shardPath, type TensorFinder } from "./tensors.ts";
import { parseUniqueKeyJson, type UniqueKeyJson } from "./unique-key-json.ts";
import { missingShard, type WeightSet } from "./weight-sets.ts";

/** The tensors of a checkpoint folder, and what was left aside. */
export interface FoundWeights extends TensorFinder {
  readonly warnings: readonly string[];
}

type Tensors = ReadonlyMap<string, SafetensorsEntry>;

/**
 * The tensors of one set of weights: of its single file, of the shards that its index lists, or of shards without an index that
 * are all there. No header, pickle or index of more than `mostBytes` is read.
 * Throws CHECKPOINT_AMBIGUOUS for a single file beside shards, CHECKPOINT_NOT_FOUND naming a shard that is missing,
 * CHECKPOINT_CORRUPT where a file is damaged or contradicts the index.
 */
export async function readWeightSet(folder: string, set: WeightSet, mostBytes: number): Promise<FoundWeights> {
  const { single, index, shards } = set;
  const ofShards = shards.map(({ name }) => name);
  const readSingle = async (file: string) => finder(await readHeader(file, set, mostBytes), file);
  if (index === null) {
    if (single === null) return readAllShards(folder, set, mostBytes);
    refuseSecond(folder, single, ofShards);
    return readSingle(join(folder, single));
  }
  const weightMap = await readIndex(join(folder, index), mostBytes);
  const listed = new Set(weightMap.values());
  if (single === null || listed.has(single)) return readListedShards(folder, { ...set, index, weightMap }, mostBytes);
  refuseSecond(
    folder,
    single,
    ofShards.filter((name) => listed.has(name)),
  );
  const warning = `${join(folder, index)}: ignored, none of the shards that it lists is there`;
  return { ...(await readSingle(join(folder, single))), warnings: [warning] };
}

/** A file left from another download must not win over shards, nor they over it: only the user knows which is meant. */
function refuseSecond(folder: string, single: string, shards: readonly string[]): void {
  if (shards.length === 0) return;
  const others = `${shards[0]}${shards.length > 1 ? ` and ${shards.length - 1} more` : ""}`;
  throw new CodedError("CHECKPOINT_AMBIGUOUS", `${folder}: holds two sets of weights: ${single}, and ${others}`, {
    hint: `Move away ${single}, or the shards and their index`,
  });
}

async function readHeader(file: string, { format }: WeightSet, mostBytes: number): Promise<Tensors> {
  if (format === "pytorch") return readPytorchHeader(file, pytorchErrors, mostBytes);
  return (await readSafetensorsHeader(file, checkpointErrors, mostBytes)).tensors;
}

function finder(tensors: Tensors, file: string): FoundWeights {
  return { names: [...tensors.keys()], find: (name) => inOrder(name, tensors.get(name)), file, warnings: [] };
}

/** The engines read a tensor's elements one after another. */
function inOrder(name: string, entry: SafetensorsEntry | undefined): SafetensorsEntry | undefined {
  const strides = entry === undefined || !("strides" in entry) ? null : (entry as PytorchEntry).strides;
  if (strides === null) return entry;
  throw new CodedError(
    "CHECKPOINT_UNSUPPORTED",
    `${entry?.file}: tensor "${name}" is a view whose elements do not lie one after another (strides ${strides})`,
    { hint: "Save a contiguous copy of it: tensor.contiguous()" },
  );
}

/** Shards without an index: all of them, each tensor in one. */
async function readAllShards(folder: string, set: WeightSet, mostBytes: number): Promise<FoundWeights> {
  const counts = [...new Set(set.shards.map(({ of }) => of))];
  if (counts.length > 1) {
    throw new CodedError(
      "CHECKPOINT_AMBIGUOUS",
      `${folder}: holds shards of several sets: of ${counts.join(" and of ")}`,
      {
        hint: "Move the shards of all sets but one away",
      },
    );
  }
  const missing = missingShard(set.shards);
  if (missing !== null) {
    const what = `${set.shards.length} of ${counts[0]} shards are there`;
    throw new CodedError("CHECKPOINT_NOT_FOUND", `${join(folder, missing)}: no such file (${what})`, {
      hint: "Download the missing shards into the same folder",
    });
  }
  const all = new Map<string, SafetensorsEntry>();
  for (const { name } of set.shards) {
    const file = join(folder, name);
    for (const [tensor, entry] of await readHeader(file, set, mostBytes)) {
      const other = all.get(tensor);
      if (other !== undefined) {
        throw new CodedError("CHECKPOINT_CORRUPT", `${file}: tensor "${tensor}" is in ${other.file} too`);
      }
      all.set(tensor, entry);
    }
  }
  return finder(all, folder);
}

type IndexedSet = WeightSet & { readonly index: string; readonly weightMap: ReadonlyMap<string, UniqueKeyJson> };

async function readListedShards(folder: string, set: IndexedSet, mostBytes: number): Promise<FoundWeights> {
  const file = join(folder, set.index);
  const shards = new Map<string, Tensors>();
  const tensors = new Map<string, SafetensorsEntry>();
  for (const [tensor, shard] of set.weightMap) {
    const path = shardPath(folder, shard, file);
    const header = shards.get(path) ?? (await readListedShard(path, file, set, mostBytes));
    shards.set(path, header);
    const entry = header.get(tensor);
    if (entry === undefined) {
      const what = `tensor "${tensor}" is missing, which ${set.index} places here`;
      throw new CodedError("CHECKPOINT_CORRUPT", `${path}: ${what}`);
    }
    tensors.set(tensor, entry);
  }
  return finder(tensors, file);
}

function readListedShard(path: string, index: string, set: WeightSet, mostBytes: number): Promise<Tensors> {
  return readHeader(path, set, mostBytes).catch((error: unknown) => {
    if (!(error instanceof CodedError) || error.code !== "CHECKPOINT_NOT_FOUND") throw error;
    throw new CodedError("CHECKPOINT_NOT_FOUND", `${error.message} (a shard that ${index} lists)`, {
      hint: "Download the missing shard into the same folder",
    });
  });
}

async function readIndex(file: string, maxBytes: number): Promise<Map<string, UniqueKeyJson>> {
  const corrupt = (what: string) => new CodedError("CHECKPOINT_CORRUPT", `${file}: ${what}`);
  const bytes = await readRegularFile(file, { ...checkpointErrors, maxBytes });
  let index: UniqueKeyJson;
  try {
    index = parseUniqueKeyJson(bytes?.toString("utf8") ?? "");
  } catch (error) {
    throw corrupt(`not valid JSON: ${(error as Error).message}`);
  }
  const weightMap = index instanceof Map ? index.get("weight_map") : undefined;
  if (!(weightMap instanceof Map)) throw corrupt('"weight_map" is missing or not an object');
  return weightMap;
}

import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { CodedError } from "../../errors/index.ts";
import { readRegularFile } from "../regular-file.ts";
import { refuseOtherFormats } from "./other-formats.ts";
import { checkpointErrors, headerLimit, readSafetensorsHeader, type SafetensorsHeader } from "./safetensors.ts";
import { shardPath, type TensorFinder } from "./tensors.ts";
import { parseUniqueKeyJson, type UniqueKeyJson } from "./unique-key-json.ts";

const singleFile = "model.safetensors";
const indexFile = "model.safetensors.index.json";

const shardName = /^model-\d+-of-\d+\.safetensors$/;

/** The tensors of a checkpoint folder, and what was left aside. */
export interface FoundWeights extends TensorFinder {
  readonly warnings: readonly string[];
}

/**
 * The tensors in a checkpoint folder: model.safetensors, or the shards that model.safetensors.index.json lists.
 * @param expected how many tensors the model has, by which the sizes of headers and index are limited
 * Throws CHECKPOINT_AMBIGUOUS when both are there, CHECKPOINT_NOT_FOUND when there is neither, CHECKPOINT_UNSUPPORTED
 * when there are weights of another format, CHECKPOINT_CORRUPT when a file is damaged or contradicts the index.
 */
export async function findWeights(folder: string, expected: number): Promise<FoundWeights> {
  const mostBytes = headerLimit(expected);
  const names = await readdir(folder);
  const single = names.includes(singleFile);
  if (!names.includes(indexFile)) {
    if (!single) return refuseMissing(folder, names);
    refuseSecond(
      folder,
      names.filter((name) => shardName.test(name)),
    );
    return { ...(await readSingle(folder, mostBytes)), warnings: [] };
  }
  const weightMap = await readIndex(join(folder, indexFile), mostBytes);
  const listed = new Set(weightMap.values());
  if (!single || listed.has(singleFile)) return { ...(await readShards(folder, weightMap, mostBytes)), warnings: [] };
  refuseSecond(
    folder,
    names.filter((name) => listed.has(name)),
  );
  const warning = `${join(folder, indexFile)}: ignored, none of the shards that it lists is there`;
  return { ...(await readSingle(folder, mostBytes)), warnings: [warning] };
}

/** A file left from another download must not win over shards, nor they over it: only the user knows which is meant. */
function refuseSecond(folder: string, shards: readonly string[]): void {
  if (shards.length === 0) return;
  const [first] = shards.toSorted();
  const others = `${first}${shards.length > 1 ? ` and ${shards.length - 1} more` : ""}`;
  throw new CodedError("CHECKPOINT_AMBIGUOUS", `${folder}: holds two sets of weights: ${singleFile}, and ${others}`, {
    hint: `Move away ${singleFile}, or the shards and ${indexFile}`,
  });
}

async function readSingle(folder: string, mostBytes: number): Promise<TensorFinder> {
  const file = join(folder, singleFile);
  const { tensors } = await readSafetensorsHeader(file, checkpointErrors, mostBytes);
  return { names: [...tensors.keys()], find: (name) => tensors.get(name), file };
}

async function readShards(
  folder: string,
  weightMap: ReadonlyMap<string, UniqueKeyJson>,
  mostBytes: number,
): Promise<TensorFinder> {
  const file = join(folder, indexFile);
  const headers = new Map<string, SafetensorsHeader>();
  for (const [tensor, shard] of weightMap) {
    const path = shardPath(folder, shard, file);
    const header = headers.get(path) ?? (await readShard(path, file, mostBytes));
    headers.set(path, header);
    if (!header.tensors.has(tensor)) {
      throw new CodedError(
        "CHECKPOINT_CORRUPT",
        `${path}: tensor "${tensor}" is missing, which ${indexFile} places here`,
      );
    }
  }
  const find = (name: string) => {
    const shard = weightMap.get(name);
    return shard === undefined ? undefined : headers.get(shardPath(folder, shard, file))?.tensors.get(name);
  };
  return { names: [...weightMap.keys()], find, file };
}

function readShard(path: string, index: string, mostBytes: number): Promise<SafetensorsHeader> {
  return readSafetensorsHeader(path, checkpointErrors, mostBytes).catch((error: unknown) => {
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

function refuseMissing(folder: string, names: readonly string[]): never {
  const missing = (what: string, hint: string) =>
    new CodedError("CHECKPOINT_NOT_FOUND", `${folder}: ${what}`, { hint });
  const safetensors = names.filter(
    (name) => name.endsWith(".safetensors") && !/^(adapter_model|consolidated)/.test(name),
  );
  if (safetensors.some((name) => shardName.test(name))) {
    throw missing(`holds shards, but no ${indexFile}`, `Download ${indexFile} of the same model into it`);
  }
  if (safetensors.length > 0) {
    throw missing(`holds ${safetensors[0]}, but no ${singleFile}`, `Rename the file to ${singleFile}`);
  }
  refuseOtherFormats(folder, names);
  throw missing(`holds neither ${singleFile} nor ${indexFile}`, "Download the model's *.safetensors files into it");
}

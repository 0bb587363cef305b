import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { CodedError } from "../../errors/index.ts";
import { checkpointErrors, readSafetensorsHeader, type SafetensorsHeader } from "./safetensors.ts";
import { parseStrictJson, type StrictJson } from "./strict-json.ts";
import { shardPath, type TensorFinder } from "./tensors.ts";

const singleFile = "model.safetensors";
const indexFile = "model.safetensors.index.json";

/** An index is a few megabytes for the largest models. */
const maxIndexBytes = 64 * 2 ** 20;

/**
 * The tensors in a checkpoint folder: model.safetensors, else the shards that model.safetensors.index.json lists.
 * Throws CHECKPOINT_NOT_FOUND when there is neither, CHECKPOINT_UNSUPPORTED when there are weights of another format,
 * CHECKPOINT_CORRUPT when a file is damaged or contradicts the index.
 */
export async function findWeights(folder: string): Promise<TensorFinder> {
  const names = new Set(await readdir(folder));
  if (names.has(singleFile)) {
    const file = join(folder, singleFile);
    const { tensors } = await readSafetensorsHeader(file);
    return { names: [...tensors.keys()], find: (name) => tensors.get(name), file };
  }
  if (names.has(indexFile)) return findShards(folder);
  return refuseOtherFormats(folder, [...names]);
}

async function findShards(folder: string): Promise<TensorFinder> {
  const file = join(folder, indexFile);
  const weightMap = await readIndex(file);
  const headers = new Map<string, SafetensorsHeader>();
  for (const [tensor, shard] of weightMap) {
    const path = shardPath(folder, shard, file);
    const header = headers.get(path) ?? (await readShard(path, file));
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

function readShard(path: string, index: string): Promise<SafetensorsHeader> {
  return readSafetensorsHeader(path, checkpointErrors).catch((error: unknown) => {
    if (!(error instanceof CodedError) || error.code !== "CHECKPOINT_NOT_FOUND") throw error;
    throw new CodedError("CHECKPOINT_NOT_FOUND", `${error.message} (a shard that ${index} lists)`, {
      hint: "Download the missing shard into the same folder",
    });
  });
}

async function readIndex(file: string): Promise<Map<string, StrictJson>> {
  const { size } = await stat(file);
  const corrupt = (what: string) => new CodedError("CHECKPOINT_CORRUPT", `${file}: ${what}`);
  if (size > maxIndexBytes) throw corrupt(`has ${size} bytes, ${maxIndexBytes} at most are read`);
  let index: StrictJson;
  try {
    index = parseStrictJson(await readFile(file, "utf8"));
  } catch (error) {
    throw corrupt(`not valid JSON: ${(error as Error).message}`);
  }
  const weightMap = index instanceof Map ? index.get("weight_map") : undefined;
  if (!(weightMap instanceof Map)) throw corrupt('"weight_map" is missing or not an object');
  return weightMap;
}

function refuseOtherFormats(folder: string, names: readonly string[]): never {
  const other = names.find((name) => /\.(bin|pth|pt|gguf|ckpt)$/.test(name) && !name.startsWith("training_args"));
  if (other === undefined) {
    throw new CodedError("CHECKPOINT_NOT_FOUND", `${folder}: holds neither ${singleFile} nor ${indexFile}`);
  }
  throw new CodedError("CHECKPOINT_UNSUPPORTED", `${join(folder, other)}: only safetensors weights can be read`, {
    hint: "Save the checkpoint as safetensors, with transformers: model.save_pretrained(folder, safe_serialization=True)",
  });
}

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type StreamedTensor, tensorBytes, writeSafetensors } from "./safetensors-writer.ts";

/** transformers' max_shard_size. */
const shardLimit = 5e9;

export interface WriteWeightsOptions {
  readonly onBytes?: (bytes: number) => void;
  /** Bytes of tensors in a file. */
  readonly shardLimit?: number;
}

/**
 * Writes a model's tensors into a folder as transformers' save_pretrained does: model.safetensors, or shards of up to
 * 5 GB and model.safetensors.index.json.
 */
export async function writeWeights(
  folder: string,
  tensors: readonly StreamedTensor[],
  { onBytes, ...options }: WriteWeightsOptions = {},
): Promise<void> {
  const shards = shardsOf(tensors, options.shardLimit ?? shardLimit);
  const total = (list: readonly StreamedTensor[]) => list.reduce((sum, tensor) => sum + tensorBytes(tensor), 0);
  const number = (n: number) => String(n).padStart(5, "0");
  const weightMap: [string, string][] = [];
  for (const [i, shard] of shards.entries()) {
    const name =
      shards.length === 1 ? "model.safetensors" : `model-${number(i + 1)}-of-${number(shards.length)}.safetensors`;
    await writeSafetensors(join(folder, name), shard, { format: "pt" }, onBytes);
    for (const tensor of shard) weightMap.push([tensor.name, name]);
  }
  if (shards.length === 1) return;
  const index = {
    metadata: { total_size: total(tensors) },
    weight_map: Object.fromEntries(weightMap.sort(([a], [b]) => (a < b ? -1 : 1))),
  };
  await writeFile(join(folder, "model.safetensors.index.json"), `${JSON.stringify(index, null, 2)}\n`);
}

/** In order, each filled as far as it goes; a tensor above the limit has a shard of its own. */
function shardsOf(tensors: readonly StreamedTensor[], limit: number): StreamedTensor[][] {
  const shards: StreamedTensor[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const tensor of tensors) {
    const size = tensorBytes(tensor);
    if (bytes + size > limit) {
      shards.push([]);
      bytes = 0;
    }
    shards.at(-1)!.push(tensor);
    bytes += size;
  }
  return shards;
}

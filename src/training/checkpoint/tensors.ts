import { join } from "node:path";
import { type LlamaConfig, linearShape } from "../../engine/config.ts";
import type { AdapterModule, MatrixPair, OptimizerState } from "../../engine/engine.ts";
import { tensorsName as adapterTensors } from "../../llama/adapter/tensor-file.ts";
import { tensorName } from "../../llama/adapter/tensor-name.ts";
import { readTensor } from "../../llama/checkpoint/read-tensor.ts";
import { headerLimit, readSafetensorsHeader } from "../../llama/checkpoint/safetensors.ts";
import { type TensorToWrite, writeSafetensors } from "../../llama/checkpoint/safetensors-writer.ts";
import { checkpointCodes } from "./files.ts";
import { damaged } from "./refusal.ts";

export const optimizerName = "optimizer.safetensors";
/** Only where it is not the checkpoint's own adapter. */
export const bestName = "best_adapter.safetensors";
export { adapterTensors };

type Places = readonly Pick<AdapterModule, "layer" | "linear" | "rank" | "scale">[];
type Moments = Pick<OptimizerState, "first" | "second">;

export async function writeMoments(folder: string, state: Moments, places: Places, model: LlamaConfig): Promise<void> {
  const tensors = (["first", "second"] as const).flatMap((moment) => named(`${moment}.`, places, state[moment], model));
  await writeSafetensors(join(folder, optimizerName), tensors);
}

export async function writeBest(folder: string, modules: readonly AdapterModule[], model: LlamaConfig): Promise<void> {
  await writeSafetensors(join(folder, bestName), named("", modules, modules, model));
}

/** @throws TRAINING_CHECKPOINT naming file and tensor */
export async function readMoments(folder: string, name: string, places: Places, model: LlamaConfig): Promise<Moments> {
  const [first, second] = await readPairs(
    folder,
    { file: optimizerName, name, prefixes: ["first.", "second."] },
    places,
    model,
  );
  return { first: first!, second: second! };
}

/** An adapter's tensors in the order of `places`, whose ranks and scales it takes. @throws TRAINING_CHECKPOINT */
export async function readModules(
  folder: string,
  { file, name }: { file: string; name: string },
  places: Places,
  model: LlamaConfig,
): Promise<AdapterModule[]> {
  const [pairs] = await readPairs(folder, { file, name, prefixes: [""] }, places, model);
  return places.map(({ layer, linear, rank, scale }, i) => ({ layer, linear, rank, scale, ...pairs![i]! }));
}

function named(prefix: string, places: Places, pairs: readonly MatrixPair[], model: LlamaConfig): TensorToWrite[] {
  return places.flatMap(({ layer, linear, rank }, i) => {
    const [out, input] = linearShape(model, linear);
    return [
      { name: `${prefix}${tensorName(layer, linear, "A")}`, shape: [rank, input], data: pairs[i]!.a },
      { name: `${prefix}${tensorName(layer, linear, "B")}`, shape: [out, rank], data: pairs[i]!.b },
    ];
  });
}

interface TensorFile {
  readonly file: string;
  /** The checkpoint's in messages. */
  readonly name: string;
  readonly prefixes: readonly string[];
}

/** Exactly the tensors of these places, float32; their sizes are known before anything is read. */
async function readPairs(folder: string, { file, name, prefixes }: TensorFile, places: Places, model: LlamaConfig) {
  const path = join(folder, file);
  const place = `${name}/${file}`;
  const count = 2 * places.length * prefixes.length;
  const { tensors } = await readSafetensorsHeader(path, checkpointCodes, headerLimit(count));
  if (tensors.size !== count) throw damaged(place, `has ${tensors.size} tensors, ${count} are needed`);
  const values = async (key: string, shape: readonly number[]) => {
    const entry = tensors.get(key);
    if (entry === undefined) throw damaged(place, `tensor "${key}" is missing`);
    if (entry.dtype !== "F32" || entry.shape.join() !== shape.join()) {
      throw damaged(place, `tensor "${key}" is ${entry.dtype} [${entry.shape}], F32 [${shape}] is needed`);
    }
    return readTensor({ file: path, offset: entry.offset, dtype: "F32", shape }, checkpointCodes);
  };
  const results: MatrixPair[][] = [];
  for (const prefix of prefixes) {
    const pairs: MatrixPair[] = [];
    for (const { layer, linear, rank } of places) {
      const [out, input] = linearShape(model, linear);
      pairs.push({
        a: await values(`${prefix}${tensorName(layer, linear, "A")}`, [rank, input]),
        b: await values(`${prefix}${tensorName(layer, linear, "B")}`, [out, rank]),
      });
    }
    results.push(pairs);
  }
  return results;
}

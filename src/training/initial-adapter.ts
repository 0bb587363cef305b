import { type LlamaConfig, linearNames, linearShape } from "../engine/config.ts";
import type { AdapterModule } from "../engine/engine.ts";
import { sliced } from "../llama/time-slices.ts";
import type { AdapterLayout } from "./adapter-layout.ts";
import { RandomStream } from "./random.ts";

/**
 * A new adapter, as PEFT starts it: A from U(-1/sqrt(in), 1/sqrt(in)) (Kaiming uniform with a = sqrt(5)), B zero, so
 * that the model is unchanged. Layer by layer, in the order of linearNames.
 */
export async function initialAdapter(
  model: LlamaConfig,
  { targets }: AdapterLayout,
  seed: number,
  signal?: AbortSignal,
): Promise<AdapterModule[]> {
  const modules: AdapterModule[] = [];
  const pause = sliced(signal);
  for (const { layer, linear, rank, scale } of targets) {
    const [out, input] = linearShape(model, linear);
    const random = new RandomStream(seed, "initial adapter", layer * linearNames.length + linearNames.indexOf(linear));
    const bound = 1 / Math.sqrt(input);
    const a = Float32Array.from({ length: rank * input }, () => (2 * random.next() - 1) * bound);
    modules.push({ layer, linear, rank, scale, a, b: new Float32Array(out * rank) });
    await pause();
  }
  return modules;
}

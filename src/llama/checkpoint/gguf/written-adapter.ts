import { type LlamaConfig, linearPath, linearShape } from "../../../engine/config.ts";
import type { AdapterModule, WeightType } from "../../../engine/engine.ts";
import { narrow } from "../narrow.ts";
import { fileTypes } from "./model-metadata.ts";
import { ggufName, interleavedHeads } from "./names.ts";
import type { GgufTensorToWrite, GgufWritten } from "./write.ts";
import { architectureOf, pairsFromHalves } from "./written-model.ts";

export interface WrittenAdapter {
  readonly metadata: Map<string, GgufWritten>;
  readonly tensors: readonly GgufTensorToWrite[];
}

/**
 * An adapter as llama.cpp loads it beside a base: `.lora_a` [rank, in] and `.lora_b` [out, rank] of each weight, rows of
 * B in the base's order. llama.cpp scales by alpha / rank with one alpha for all: rsLoRA goes into alpha, and B takes what
 * a module has otherwise.
 * @param factor beside the scale that the modules have
 */
export function writtenAdapter(
  modules: readonly AdapterModule[],
  model: LlamaConfig,
  { name, dtype, factor }: { readonly name: string; readonly dtype: WeightType; readonly factor: number },
): WrittenAdapter {
  const alphaOf = ({ scale, rank }: AdapterModule) => factor * scale * rank;
  const shared = alphaOf(modules[0]!);
  // llama.cpp takes alpha 0 for a scale of 1.
  const alpha = shared === 0 ? 1 : shared;
  const architecture = architectureOf(model);
  const metadata = new Map<string, GgufWritten>([
    ["general.architecture", { text: architecture }],
    ["general.type", { text: "adapter" }],
    ["general.name", { text: name }],
    ["general.file_type", { u32: fileTypes[dtype] }],
    ["adapter.type", { text: "lora" }],
    ["adapter.lora.alpha", { f32: alpha }],
  ]);
  const tensors = modules.flatMap((module): GgufTensorToWrite[] => {
    const [out, input] = linearShape(model, module.linear);
    const weight = ggufName(`${linearPath(module.layer, module.linear)}.weight`)!;
    const heads = interleavedHeads(weight, architecture, model);
    const b = heads === undefined ? module.b : pairsFromHalves(module.b, module.rank, out / heads);
    const share = alphaOf(module) / alpha;
    const scaled = share === 1 ? b : b.map((value) => value * share);
    return [
      tensor(`${weight}.lora_a`, [module.rank, input], module.a, dtype),
      tensor(`${weight}.lora_b`, [out, module.rank], scaled, dtype),
    ];
  });
  return { metadata, tensors };
}

function tensor(name: string, shape: readonly number[], values: Float32Array, dtype: WeightType): GgufTensorToWrite {
  return {
    name,
    shape,
    dtype,
    async *parts() {
      yield narrow(values, dtype);
    },
  };
}

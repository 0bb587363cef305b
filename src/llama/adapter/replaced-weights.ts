import type { TensorSource } from "../../engine/engine.ts";
import { isStoredType } from "../../engine/tensors/stored-types.ts";
import { CodedError } from "../../errors/index.ts";
import { expectedTensors } from "../checkpoint/tensors.ts";
import type { LoadPlan } from "./load.ts";
import { checkShape, type NamedTensor, quoted } from "./tensor-index.ts";
import { embedding, head } from "./tensor-name.ts";

/**
 * Weights instead of the base's, each one that the base has, of its shape: only a vocabulary may have another size.
 * @throws ADAPTER_MISMATCH, ADAPTER_CONFIG, ADAPTER_UNSUPPORTED naming file and tensor
 */
export function replacedWeights({ index, config, model, said }: LoadPlan): Map<string, TensorSource> {
  const shapes = new Map(expectedTensors({ ...model, tiedHead: false }));
  const { label } = index;
  const replaced = new Map<string, TensorSource>();
  for (const [path, parts] of index.modules) {
    const isOuter = path === embedding || path === head;
    for (const part of ["weight", "bias"] as const) {
      const found = parts.get(part);
      if (found === undefined) continue;
      const tensor = `${label}: tensor ${quoted(found.given)}`;
      const shape = shapes.get(`${path}.${part}`);
      if (shape === undefined) throw new CodedError("ADAPTER_MISMATCH", `${tensor}: the model has none in its place`);
      // PEFT keeps the embeddings of a grown vocabulary without being told to.
      if (part === "weight" && !isOuter && !config.modulesToSave.some((end) => path.endsWith(end))) {
        throw new CodedError("ADAPTER_CONFIG", `${tensor}: ${said} does not name it in modules_to_save`);
      }
      checkShape(found, isOuter ? [found.tensor.shape[0] ?? 0, shape[1]!] : shape, label);
      replaced.set(`${path}.${part}`, sourceOf(found, tensor));
    }
  }
  for (const name of shapes.keys()) {
    const path = name.replace(/\.weight$/, "");
    if (path === name || replaced.has(name) || !config.modulesToSave.some((end) => path.endsWith(end))) continue;
    throw new CodedError("ADAPTER_MISMATCH", `${label}: tensor "base_model.model.${name}" is missing`, {
      hint: `${said} names this module in modules_to_save.`,
    });
  }
  return replaced;
}

function sourceOf({ tensor }: NamedTensor, what: string): TensorSource {
  const { file, offset, dtype, shape, interleavedHeads, strides = null } = tensor;
  if (!isStoredType(dtype)) {
    throw new CodedError("ADAPTER_UNSUPPORTED", `${what} has type ${dtype}`, {
      hint: "F32, F16 and BF16 can be read.",
    });
  }
  if (strides !== null) {
    throw new CodedError("ADAPTER_UNSUPPORTED", `${what} is a view whose elements do not lie one after another`, {
      hint: "Save a contiguous copy of it: tensor.contiguous()",
    });
  }
  return { file, offset, dtype, shape, interleavedHeads };
}

import { type LlamaConfig, linearShape } from "../../engine/config.ts";
import { CodedError } from "../../errors/index.ts";
import { byteLimit } from "../byte-limit.ts";
import { parameters } from "../checkpoint/describe.ts";
import type { Targets } from "./targets.ts";

export const adapterBytesVariable = "LLAMA_ADAPTER_BYTES";
const [leastLimit, usualLimit] = [256 * 2 ** 20, 4 * 2 ** 30];
/** The engine's. */
export const largestRank = 4096;

/**
 * Bytes that one adapter may take as float32: LLAMA_ADAPTER_BYTES, else what the model's weights would, at least 256 MiB
 * and at most 4 GiB.
 * @throws ENGINE_ARGUMENT for a variable that is no number of bytes
 */
export function mostAdapterBytes(model: LlamaConfig, env = process.env): number {
  const weights = 4 * parameters(model);
  return byteLimit(adapterBytesVariable, env) ?? Math.min(usualLimit, Math.max(leastLimit, weights));
}

/**
 * Refuses an adapter by what its config promises, before any of its tensors is read.
 * @param file the config's name in messages
 * @throws ADAPTER_UNSUPPORTED
 */
export function checkSize({ linears, outer }: Targets, model: LlamaConfig, mostBytes: number, file: string): void {
  const sized = [
    ...linears.map(({ linear, ...target }) => ({ ...target, shape: linearShape(model, linear) })),
    ...outer.map((target) => ({ ...target, shape: [model.vocabSize, model.hiddenSize] as const })),
  ];
  let bytes = 0;
  for (const { path, rank, shape } of sized) {
    if (rank > largestRank) {
      throw new CodedError(
        "ADAPTER_UNSUPPORTED",
        `${file}: ${path} has rank ${rank}, up to ${largestRank} are supported`,
      );
    }
    bytes += 4 * rank * (shape[0] + shape[1]);
  }
  if (bytes > mostBytes) {
    throw new CodedError("ADAPTER_UNSUPPORTED", `${file}: the adapter takes ${bytes} bytes, ${mostBytes} are allowed`, {
      hint: `Train one of a lower rank, or set ${adapterBytesVariable} to more bytes.`,
    });
  }
}

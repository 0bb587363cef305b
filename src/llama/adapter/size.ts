import { type LlamaConfig, linearShape } from "../../engine/config.ts";
import { CodedError } from "../../errors/index.ts";
import { byteLimit } from "../byte-limit.ts";
import { parameters } from "../checkpoint/describe.ts";
import type { Target } from "./targets.ts";

export const adapterBytesVariable = "LLAMA_ADAPTER_BYTES";
const [leastLimit, usualLimit] = [256 * 2 ** 20, 4 * 2 ** 30];
/** The engine's. */
const largestRank = 4096;

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
export function checkSize(targets: readonly Target[], model: LlamaConfig, mostBytes: number, file: string): void {
  let bytes = 0;
  for (const { path, rank, linear } of targets) {
    if (rank > largestRank) {
      throw new CodedError(
        "ADAPTER_UNSUPPORTED",
        `${file}: ${path} has rank ${rank}, up to ${largestRank} are supported`,
      );
    }
    const [out, input] = linearShape(model, linear);
    bytes += 4 * rank * (out + input);
  }
  if (bytes > mostBytes) {
    throw new CodedError("ADAPTER_UNSUPPORTED", `${file}: the adapter takes ${bytes} bytes, ${mostBytes} are allowed`, {
      hint: `Train one of a lower rank, or set ${adapterBytesVariable} to more bytes.`,
    });
  }
}

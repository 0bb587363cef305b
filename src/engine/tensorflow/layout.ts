import type { LlamaConfig } from "../config.ts";
import type { TensorFlow } from "./backend.ts";
import { causalMask, type Layout, rotations } from "./forward.ts";

/** One row of tokens: documents of these lengths side by side, or one document after `past` cached tokens. */
export function layoutOf(tf: TensorFlow, config: LlamaConfig, documents: readonly number[], past: number): Layout {
  const positions = documents.flatMap((length) => Array.from({ length }, (_, i) => past + i));
  return {
    rows: 1,
    length: positions.length,
    ...rotations(tf, config, positions),
    mask: causalMask(tf, documents, config.slidingWindow, past),
  };
}

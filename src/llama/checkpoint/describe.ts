import { basename } from "node:path";
import type { LlamaConfig } from "../../engine/config.ts";
import type { ModelWeights, StoredType } from "../../engine/engine.ts";
import { isBlockType } from "../../engine/tensors/stored-types.ts";
import { isEmbedded } from "./locate.ts";
import type { Checkpoint } from "./open.ts";
import { expectedTensors } from "./tensors.ts";

/**
 * One line for the log of every start, without a path: "model: tiny (embedded), 1.9 M parameters, bf16, context 512,
 * SentencePiece of 1,600 pieces".
 */
export function describeCheckpoint(checkpoint: Checkpoint): string {
  const { config, weights, tokenizer, tokenizerKind } = checkpoint;
  const model = modelAndPlace(checkpoint);
  const size = `${shortCount(parameters(config))} parameters`;
  const pieces = `${tokenizerKind} of ${tokenizer.vocabSize.toLocaleString("en-US")} pieces`;
  return `model: ${model}, ${size}, ${types(weights)}, context ${config.maxPositionEmbeddings}, ${pieces}`;
}

function modelAndPlace({ folder, file, name }: Checkpoint): string {
  if (file !== null) return `${name} (file ${basename(file)})`;
  const place = basename(folder);
  if (isEmbedded(folder)) return `${place} (embedded)`;
  return place === name ? name : `${name} (folder ${place})`;
}

/** Numbers in the model, a tied head counted once. */
export function parameters(config: LlamaConfig): number {
  let total = 0;
  for (const [, shape] of expectedTensors(config)) total += shape.reduce((product, size) => product * size, 1);
  return total;
}

/** "1.9 M", "6.7 B" */
export function shortCount(count: number): string {
  for (const [unit, size] of [
    ["B", 1e9],
    ["M", 1e6],
    ["K", 1e3],
  ] as const) {
    if (count >= size) return `${(count / size).toFixed(count < 100 * size ? 1 : 0)} ${unit}`;
  }
  return String(count);
}

/** What the matrices in the files are made of, that of most of them first; norms are float32 beside blocks of any type. */
function types({ tensors }: ModelWeights): string {
  const counts = new Map<StoredType, number>();
  const matrices = [...tensors.values()].filter(({ shape }) => shape.length > 1);
  for (const { dtype } of matrices) counts.set(dtype, (counts.get(dtype) ?? 0) + 1);
  const sorted = [...counts].sort(([, a], [, b]) => b - a);
  // Block formats keep their capital letter, by which they are known.
  return sorted.map(([dtype]) => (isBlockType(dtype) ? dtype : dtype.toLowerCase())).join(" and ");
}

import type { Tensor, Tensor1D } from "@tensorflow/tfjs-core";
import { checkTokens } from "../arguments.ts";
import type { LlamaConfig } from "../config.ts";
import type { Dropout, PackedBatch } from "../engine.ts";
import type { TensorflowAdapter } from "./adapter.ts";
import type { TensorFlow } from "./backend.ts";
import { crossEntropySum, hiddenStates } from "./forward.ts";
import { layoutOf } from "./layout.ts";
import { parametersOf } from "./parameters.ts";
import { labelledRows } from "./trainer.ts";
import { headOf } from "./weights.ts";

interface LossOptions {
  readonly adapter: TensorflowAdapter;
  readonly batch: PackedBatch;
  /** Positions that have a target. */
  readonly labelled: Int32Array;
  readonly dropout: Dropout | null;
}

/** Sum of the cross-entropies (nats) over the batch's targets. @throws CodedError ENGINE_ARGUMENT for a wrong token */
export function lossSum(
  tf: TensorFlow,
  config: LlamaConfig,
  tensors: ReadonlyMap<string, Tensor>,
  { adapter, batch, labelled, dropout }: LossOptions,
): Tensor {
  checkTokens("batch.tokens", batch.tokens, config.vocabSize);
  const documents = Array.from(batch.offsets.subarray(1), (end, i) => end - batch.offsets[i]!);
  const parameters = parametersOf(tf, config, tensors, adapter, dropout);
  const ids = tf.tensor1d(batch.tokens, "int32");
  const hidden = hiddenStates(tf, config, parameters, ids, layoutOf(tf, config, documents, 0));
  const targets = tf.tensor1d(
    labelled.map((i) => batch.targets[i]!),
    "int32",
  ) as Tensor1D;
  return crossEntropySum(tf, labelledRows(tf, hidden, labelled), headOf(tensors, config.tiedHead), targets);
}

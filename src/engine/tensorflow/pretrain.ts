import type { Tensor, Tensor1D, Tensor2D, Variable } from "@tensorflow/tfjs-core";
import { type LinearName, type LlamaConfig, linearNames, linearPath, linearShape } from "../config.ts";
import type { OptimizerStep, PackedBatch } from "../engine.ts";
import { createAdamW } from "./adamw.ts";
import { openBackend } from "./backend.ts";
import { causalMask, crossEntropySum, hiddenStates, type Layout, type Parameters, rotations } from "./forward.ts";

/** Trains every parameter of a LLaMA with a tied head from scratch. */
export interface Pretrainer {
  /** One optimiser step on a batch whose rows are all of one length. loss: token mean, nats. */
  step(batch: PackedBatch, settings: OptimizerStep): Promise<{ loss: number; gradNorm: number }>;
  /** Copies of all parameters by their Hugging Face names. */
  tensors(): Promise<Map<string, { shape: number[]; data: Float32Array }>>;
  close(): void;
}

const linearKey = (layer: number, name: LinearName): string => `${linearPath(layer, name)}.weight`;
const normKey = (layer: number, name: string): string =>
  layer < 0 ? `model.${name}.weight` : `model.layers.${layer}.${name}.weight`;

/**
 * Parameters start as Hugging Face initialises a LLaMA, N(0, 0.02), residual projections divided by sqrt(2 layers) as in
 * GPT-2; norms at one. Weight decay spares the norms.
 */
export async function createPretrainer(config: LlamaConfig, { seed }: { seed: number }): Promise<Pretrainer> {
  if (config.attentionBias || config.queryKeyNorm)
    throw new Error("the pretrainer makes no models with biases or head norms");
  if (!config.tiedHead) throw new Error("the pretrainer makes models with a tied head");
  const { tf } = await openBackend();
  const variables = new Map<string, Variable>();
  let draw = seed;
  const normal = (key: string, shape: [number, number], deviation: number): void => {
    const initial = (): Tensor => tf.randomNormal(shape, 0, deviation, "float32", ++draw);
    variables.set(
      key,
      tf.tidy(() => tf.variable(initial(), true, key)),
    );
  };
  const one = (key: string): void => {
    variables.set(
      key,
      tf.tidy(() => tf.variable(tf.ones([config.hiddenSize]), true, key)),
    );
  };
  normal("model.embed_tokens.weight", [config.vocabSize, config.hiddenSize], 0.02);
  for (let layer = 0; layer < config.layers; layer++) {
    for (const name of linearNames) {
      const residual = name === "o_proj" || name === "down_proj";
      normal(
        linearKey(layer, name),
        [...linearShape(config, name)],
        residual ? 0.02 / Math.sqrt(2 * config.layers) : 0.02,
      );
    }
    for (const name of ["input_layernorm", "post_attention_layernorm"]) {
      const key = normKey(layer, name);
      one(key);
    }
  }
  one("model.norm.weight");

  const parameters: Parameters = {
    embedding: () => variables.get("model.embed_tokens.weight") as Tensor as Tensor2D,
    norm: (layer, name) => variables.get(normKey(layer, name)) as Tensor as Tensor1D,
    linear: (layer, name, x) => tf.matMul(x, variables.get(linearKey(layer, name)) as Tensor as Tensor2D, false, true),
  };
  const optimizer = createAdamW(tf, variables, (key) => !key.includes("norm"));
  const layouts = new Map<number, Pick<Layout, "cos" | "sin" | "mask">>();

  const layoutOf = (batch: PackedBatch): Layout => {
    const rows = batch.offsets.length - 1;
    const length = batch.tokens.length / rows;
    if (batch.offsets.some((offset, i) => offset !== i * length)) throw new Error("the rows are not all of one length");
    let layout = layouts.get(length);
    if (!layout) {
      const positions = Int32Array.from({ length }, (_, i) => i);
      layout = { ...rotations(tf, config, positions), mask: causalMask(tf, [length], config.slidingWindow) };
      layouts.set(length, layout);
    }
    return { rows, length, ...layout };
  };

  return {
    async step(batch, settings) {
      const labelled = Int32Array.from(batch.targets.keys()).filter((i) => batch.targets[i]! >= 0);
      const targets = labelled.map((i) => batch.targets[i]!);
      const layout = layoutOf(batch);
      const { value, grads } = tf.variableGrads(
        () =>
          tf.tidy(() => {
            const hidden = hiddenStates(tf, config, parameters, tf.tensor1d(batch.tokens, "int32"), layout);
            const rows = labelled.length === batch.tokens.length ? hidden : (tf.gather(hidden, labelled) as Tensor2D);
            const sum = crossEntropySum(tf, rows, parameters.embedding(), tf.tensor1d(targets, "int32"));
            return tf.reshape(tf.div(sum, labelled.length), []);
          }),
        [...variables.values()],
      );
      const gradients = new Map(Object.entries(grads) as [string, Tensor][]);
      const gradNorm = await optimizer.update(gradients, settings);
      const loss = (await value.data())[0]!;
      tf.dispose([value, ...gradients.values()]);
      return { loss, gradNorm };
    },

    async tensors() {
      const copies = new Map<string, { shape: number[]; data: Float32Array }>();
      for (const [key, variable] of variables) {
        copies.set(key, { shape: [...variable.shape], data: Float32Array.from(await variable.data()) });
      }
      return copies;
    },

    close() {
      tf.dispose([...variables.values()]);
      optimizer.close();
      for (const { cos, sin, mask } of layouts.values()) tf.dispose([cos, sin, mask]);
    },
  };
}

import type { Tensor2D, Variable } from "@tensorflow/tfjs-core";
import { CodedError } from "../../errors/index.ts";
import { type LinearName, type LlamaConfig, linearShape } from "../config.ts";
import type { AdapterModule, EngineAdapter } from "../engine.ts";
import type { TensorFlow } from "./backend.ts";

export interface AdapterVariables {
  readonly module: AdapterModule;
  /** [rank, in] */
  readonly a: Variable;
  /** [out, rank] */
  readonly b: Variable;
}

/** LoRA pairs as TensorFlow variables, so that they can be trained by automatic differentiation. */
export class TensorflowAdapter implements EngineAdapter {
  readonly pairs: readonly AdapterVariables[];
  readonly #byPlace = new Map<string, AdapterVariables>();
  readonly #tf: TensorFlow;
  #closed = false;

  constructor(tf: TensorFlow, config: LlamaConfig, modules: readonly AdapterModule[]) {
    this.#tf = tf;
    for (const module of modules) check(config, module);
    this.pairs = modules.map((module) => {
      const [out, input] = linearShape(config, module.linear);
      const variable = (values: Float32Array, shape: [number, number]): Variable =>
        tf.tidy(() => tf.variable(tf.tensor2d(Float32Array.from(values), shape)));
      const pair = { module, a: variable(module.a, [module.rank, input]), b: variable(module.b, [out, module.rank]) };
      this.#byPlace.set(`${module.layer}.${module.linear}`, pair);
      return pair;
    });
  }

  has(layer: number, linear: LinearName): boolean {
    return this.#byPlace.has(`${layer}.${linear}`);
  }

  /** scale * (x Aᵀ) Bᵀ of a linear that has a pair. x [tokens, in] */
  delta(layer: number, linear: LinearName, x: Tensor2D): Tensor2D {
    const tf = this.#tf;
    const pair = this.#byPlace.get(`${layer}.${linear}`)!;
    const u = tf.matMul(x, pair.a as unknown as Tensor2D, false, true);
    return tf.mul(tf.matMul(u, pair.b as unknown as Tensor2D, false, true), pair.module.scale);
  }

  async read(): Promise<AdapterModule[]> {
    return Promise.all(
      this.pairs.map(async ({ module, a, b }) => ({
        ...module,
        a: Float32Array.from(await a.data()),
        b: Float32Array.from(await b.data()),
      })),
    );
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const { a, b } of this.pairs) this.#tf.dispose([a, b]);
  }
}

function check(config: LlamaConfig, { layer, linear, rank, a, b }: AdapterModule): void {
  const place = `adapter module ${layer}.${linear}`;
  if (!Number.isInteger(layer) || layer < 0 || layer >= config.layers) {
    throw new CodedError("ENGINE_ARGUMENT", `${place}: the model has ${config.layers} layers`);
  }
  if (!Number.isInteger(rank) || rank < 1) throw new CodedError("ENGINE_ARGUMENT", `${place}: rank ${rank}`);
  const [out, input] = linearShape(config, linear);
  if (a.length !== rank * input || b.length !== out * rank) {
    throw new CodedError(
      "ENGINE_ARGUMENT",
      `${place}: A has ${a.length} and B ${b.length} elements, [${rank}, ${input}] and [${out}, ${rank}] are needed`,
    );
  }
}

import type { Tensor, Variable } from "@tensorflow/tfjs-core";
import type { OptimizerStep } from "../engine.ts";
import type { TensorFlow } from "./backend.ts";

export interface AdamW {
  /** Clips by the global norm and updates every variable; returns the norm before clipping. Gradients stay the caller's. */
  update(gradients: ReadonlyMap<string, Tensor>, settings: OptimizerStep): Promise<number>;
  /** Moments of every variable by its name, copied. */
  state(): Promise<AdamWState>;
  /** The moments have the variables' sizes. */
  restore(state: AdamWState): void;
  close(): void;
}

export interface AdamWState {
  /** Updates so far. */
  readonly steps: number;
  readonly moments: ReadonlyMap<string, { readonly first: Float32Array; readonly second: Float32Array }>;
}

/**
 * AdamW (Loshchilov and Hutter 2019): decoupled weight decay, bias-corrected moments, epsilon outside the root.
 * tf.train.adam has no decoupled decay.
 */
export function createAdamW(
  tf: TensorFlow,
  variables: ReadonlyMap<string, Variable>,
  decays: (name: string) => boolean = () => true,
): AdamW {
  // tidy frees the initial tensors; a variable outlives it.
  const zeros = (shape: number[]): Variable => tf.tidy(() => tf.variable(tf.zeros(shape), false));
  const moments = new Map([...variables].map(([name, { shape }]) => [name, { m: zeros(shape), v: zeros(shape) }]));
  let steps = 0;

  return {
    async update(gradients, { learningRate, beta1, beta2, epsilon, weightDecay, maxGradNorm }) {
      const squares = tf.tidy(() => tf.addN([...gradients.values()].map((gradient) => tf.sum(tf.square(gradient)))));
      const gradNorm = Math.sqrt((await squares.data())[0]!);
      squares.dispose();
      const clip = maxGradNorm > 0 ? Math.min(1, maxGradNorm / (gradNorm + 1e-6)) : 1;
      steps++;
      const correction1 = 1 - beta1 ** steps;
      const correction2 = 1 - beta2 ** steps;
      for (const [name, variable] of variables) {
        const { m, v } = moments.get(name)!;
        tf.tidy(() => {
          const gradient = tf.mul(gradients.get(name)!, clip);
          m.assign(tf.add(tf.mul(m, beta1), tf.mul(gradient, 1 - beta1)));
          v.assign(tf.add(tf.mul(v, beta2), tf.mul(tf.square(gradient), 1 - beta2)));
          const step = tf.div(tf.div(m, correction1), tf.add(tf.sqrt(tf.div(v, correction2)), epsilon));
          const decay = decays(name) ? 1 - learningRate * weightDecay : 1;
          variable.assign(tf.sub(tf.mul(variable, decay), tf.mul(step, learningRate)));
        });
      }
      return gradNorm;
    },

    async state() {
      const copied = new Map<string, { first: Float32Array; second: Float32Array }>();
      for (const [name, { m, v }] of moments) {
        copied.set(name, { first: Float32Array.from(await m.data()), second: Float32Array.from(await v.data()) });
      }
      return { steps, moments: copied };
    },

    restore(state) {
      for (const [name, { m, v }] of moments) {
        const { first, second } = state.moments.get(name)!;
        tf.tidy(() => {
          m.assign(tf.tensor(first, m.shape));
          v.assign(tf.tensor(second, v.shape));
        });
      }
      steps = state.steps;
    },

    close() {
      for (const { m, v } of moments.values()) tf.dispose([m, v]);
    },
  };
}

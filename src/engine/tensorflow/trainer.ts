import type { NamedTensorMap, Tensor, Tensor1D, Tensor2D, Variable } from "@tensorflow/tfjs-core";
import { checkInteger, refuse } from "../arguments.ts";
import type { Dropout, EngineTrainer, LossSum, OptimizerState, OptimizerStep, PackedBatch } from "../engine.ts";
import { createAdamW } from "./adamw.ts";
import type { TensorflowAdapter } from "./adapter.ts";
import type { TensorFlow } from "./backend.ts";

/** Sum of losses over labelled positions of a packed batch, a scalar made of differentiable operations. */
export type LossFunction = (batch: PackedBatch, labelled: Int32Array, dropout: Dropout | null) => Tensor;

/** Runs one job after another, in the order they were asked for. */
export type Queue = <Result>(job: () => Promise<Result>) => Promise<Result>;

/** LoRA training by automatic differentiation: the gradients come from tf.variableGrads alone. */
export function createTrainer(
  tf: TensorFlow,
  adapter: TensorflowAdapter,
  lossOf: LossFunction,
  queue: Queue,
): EngineTrainer {
  const variables = new Map<string, Variable>();
  for (const { a, b } of adapter.pairs) variables.set(a.name, a).set(b.name, b);
  const optimizer = createAdamW(tf, variables);
  const sums = new Map<string, Tensor>([...variables].map(([name, { shape }]) => [name, tf.zeros(shape)]));
  let closed = false;

  const labelledOf = ({ targets }: PackedBatch): Int32Array =>
    Int32Array.from(targets.keys()).filter((i) => targets[i]! >= 0);

  const add = (grads: NamedTensorMap, scale: number): void => {
    for (const [name, sum] of sums) {
      const gradient = grads[name];
      if (!gradient) continue;
      sums.set(
        name,
        tf.tidy(() => tf.add(sum, tf.mul(gradient, scale))),
      );
      tf.dispose([sum, gradient]);
    }
  };

  return {
    accumulate: (batch, gradientScale, dropout = null): Promise<LossSum> =>
      queue(async () => {
        const labelled = labelledOf(batch);
        if (labelled.length === 0) return { loss: 0, targets: 0 };
        const { value, grads } = tf.variableGrads(
          () => tf.tidy(() => tf.reshape(lossOf(batch, labelled, dropout), [])),
          [...variables.values()],
        );
        add(grads, gradientScale);
        const loss = (await value.data())[0]!;
        value.dispose();
        return { loss, targets: labelled.length };
      }),

    evaluate: (batch) =>
      queue(async () => {
        const labelled = labelledOf(batch);
        if (labelled.length === 0) return { loss: 0, targets: 0 };
        const value = tf.tidy(() => lossOf(batch, labelled, null));
        const loss = (await value.data())[0]!;
        value.dispose();
        return { loss, targets: labelled.length };
      }),

    update: (step: OptimizerStep) =>
      queue(async () => {
        const gradNorm = await optimizer.update(sums, step);
        for (const [name, sum] of sums) {
          sums.set(name, tf.zerosLike(sum));
          sum.dispose();
        }
        return { gradNorm };
      }),

    gradients: () =>
      queue(() =>
        Promise.all(
          adapter.pairs.map(async ({ a, b }) => ({
            a: Float32Array.from(await sums.get(a.name)!.data()),
            b: Float32Array.from(await sums.get(b.name)!.data()),
          })),
        ),
      ),

    optimizerState: () =>
      queue(async (): Promise<OptimizerState> => {
        const { steps, moments } = await optimizer.state();
        const pairs = (moment: "first" | "second") =>
          adapter.pairs.map(({ a, b }) => ({ a: moments.get(a.name)![moment], b: moments.get(b.name)![moment] }));
        return { steps, first: pairs("first"), second: pairs("second"), lossScale: { value: 1, steadySteps: 0 } };
      }),

    restoreOptimizer: (state) =>
      queue(async () => {
        checkOptimizerState(state, adapter);
        const moments = new Map<string, { first: Float32Array; second: Float32Array }>();
        for (const [i, { a, b }] of adapter.pairs.entries()) {
          const [first, second] = [state.first[i]!, state.second[i]!];
          moments.set(a.name, { first: first.a, second: second.a }).set(b.name, { first: first.b, second: second.b });
        }
        optimizer.restore({ steps: state.steps, moments });
      }),

    releaseActivations: async () => {},

    sum: async (values) => values,
    finish: async () => {},

    close: () =>
      queue(async () => {
        if (closed) return;
        closed = true;
        tf.dispose([...sums.values()]);
        optimizer.close();
      }),
  };
}

/** @throws ENGINE_ARGUMENT */
function checkOptimizerState({ steps, first, second, lossScale }: OptimizerState, { pairs }: TensorflowAdapter): void {
  checkInteger("steps", steps, 0, Number.MAX_SAFE_INTEGER);
  if (lossScale.value !== 1 || lossScale.steadySteps !== 0) refuse("the loss scale is of another engine");
  for (const [name, moment] of [["first", first] as const, ["second", second] as const]) {
    const fits =
      moment.length === pairs.length &&
      pairs.every(({ a, b }, i) => moment[i]!.a.length === a.size && moment[i]!.b.length === b.size);
    if (!fits) refuse(`the ${name} moment is of another adapter`);
    const least = name === "second" ? 0 : Number.NEGATIVE_INFINITY;
    const valid = (value: number) => Number.isFinite(value) && value >= least;
    if (!moment.every(({ a, b }) => a.every(valid) && b.every(valid)))
      refuse(`the ${name} moment holds an impossible value`);
  }
}

/** Rows of `hidden` that have a target, [labelled, hidden]. */
export function labelledRows(tf: TensorFlow, hidden: Tensor2D, labelled: Int32Array): Tensor2D {
  return tf.gather(hidden, tf.tensor1d(labelled, "int32") as Tensor1D) as Tensor2D;
}

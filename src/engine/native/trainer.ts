import type {
  Dropout,
  EngineTrainer,
  LossSum,
  MatrixPair,
  MemoryPlan,
  OptimizerState,
  OptimizerStep,
  PackedBatch,
} from "../engine.ts";
import type { AddonTrainer } from "./addon.ts";
import { checkOptimizerStep } from "./arguments.ts";
import { withCodes } from "./failure.ts";

/** Batches, dropout and counts are checked by the addon, which makes indices of memory of them. */
export class NativeTrainer implements EngineTrainer {
  readonly #addon: AddonTrainer;

  constructor(addon: AddonTrainer) {
    this.#addon = addon;
  }

  async accumulate(batch: PackedBatch, gradientScale: number, dropout: Dropout | null = null): Promise<LossSum> {
    const { tokens, targets, offsets } = batch;
    return withCodes(() => this.#addon.accumulate(tokens, targets, offsets, gradientScale, dropout));
  }

  async evaluate(batch: PackedBatch): Promise<LossSum> {
    return withCodes(() => this.#addon.evaluate(batch.tokens, batch.targets, batch.offsets));
  }

  async update(step: OptimizerStep): Promise<{ gradNorm: number }> {
    checkOptimizerStep(step);
    return { gradNorm: await withCodes(() => this.#addon.update(step)) };
  }

  async gradients(): Promise<MatrixPair[]> {
    return withCodes(() => this.#addon.gradients());
  }

  async optimizerState(): Promise<OptimizerState> {
    return withCodes(() => this.#addon.optimizerState());
  }

  async restoreOptimizer(state: OptimizerState): Promise<void> {
    await withCodes(() => this.#addon.restoreOptimizer(state));
  }

  async plan(tokens: number, dropout: boolean): Promise<MemoryPlan> {
    return withCodes(() => this.#addon.plan(tokens, dropout));
  }

  async releaseActivations(): Promise<void> {
    await withCodes(() => this.#addon.releaseActivations());
  }

  async sum(values: Float64Array): Promise<Float64Array> {
    return withCodes(() => this.#addon.sum(values));
  }

  async finish(): Promise<void> {
    await withCodes(() => this.#addon.finish());
  }

  async close(): Promise<void> {
    this.#addon.close();
  }
}

import { checkInteger, checkNumber } from "../arguments.ts";
import type { LlamaConfig } from "../config.ts";
import type { Dropout, EngineTrainer, LossSum, MemoryPlan, OptimizerStep, PackedBatch } from "../engine.ts";
import type { AddonTrainer } from "./addon.ts";
import { checkBatch, checkDropout, checkOptimizerStep } from "./arguments.ts";
import { settle } from "./failure.ts";

export class NativeTrainer implements EngineTrainer {
  readonly #addon: AddonTrainer;
  readonly #config: LlamaConfig;

  constructor(addon: AddonTrainer, config: LlamaConfig) {
    this.#addon = addon;
    this.#config = config;
  }

  async accumulate(batch: PackedBatch, gradientScale: number, dropout: Dropout | null = null): Promise<LossSum> {
    checkBatch(batch, this.#config);
    checkNumber("gradientScale", gradientScale, -Number.MAX_VALUE, Number.MAX_VALUE);
    if (dropout) checkDropout(dropout);
    const { tokens, targets, offsets } = batch;
    return settle(() => this.#addon.accumulate(tokens, targets, offsets, gradientScale, dropout));
  }

  async evaluate(batch: PackedBatch): Promise<LossSum> {
    checkBatch(batch, this.#config);
    return settle(() => this.#addon.evaluate(batch.tokens, batch.targets, batch.offsets));
  }

  async update(step: OptimizerStep): Promise<{ gradNorm: number }> {
    checkOptimizerStep(step);
    return { gradNorm: await settle(() => this.#addon.update(step)) };
  }

  async gradients(): Promise<{ a: Float32Array; b: Float32Array }[]> {
    return settle(() => this.#addon.gradients());
  }

  async plan(tokens: number, dropout: boolean): Promise<MemoryPlan> {
    checkInteger("tokens", tokens, 1, 2 ** 26);
    return settle(() => this.#addon.plan(tokens, dropout));
  }

  async sum(values: Float64Array): Promise<Float64Array> {
    return settle(() => this.#addon.sum(values));
  }

  async finish(): Promise<void> {
    await settle(() => this.#addon.finish());
  }

  async close(): Promise<void> {
    this.#addon.close();
  }
}

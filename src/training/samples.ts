import type { EngineAdapter } from "../engine/engine.ts";
import { CodedError, isCodedError } from "../errors/index.ts";
import { CacheAdmission } from "../llama/generation/admission.ts";
import { Generation } from "../llama/generation/generation.ts";
import { PromptEncoder } from "../llama/generation/prompt-encoder.ts";
import { Scheduler } from "../llama/generation/scheduler.ts";
import { conversationOf, type PromptTemplate } from "../llama/prompt/index.ts";
import type { Plan } from "./plan.ts";
import type { RunState } from "./run-state.ts";
import type { TrainingSettings } from "./settings.ts";
import type { Base } from "./train-lora.ts";

/** One of sample_prompts, and what the adapter in training answers. */
export interface Sample {
  readonly prompt: string;
  readonly answer: string;
}

export interface SampleRecord {
  /** After this many steps; 0 is the base, or the adapter that was started from. */
  readonly step: number;
  /** In the order of sample_prompts; none where they could not be answered, and on ranks but 0. */
  readonly samples: readonly Sample[];
}

interface WordedSample {
  readonly prompt: string;
  readonly tokens: Int32Array;
}

type SampleSettings = Pick<TrainingSettings, "sample_prompts" | "sample_tokens">;

/** Sample prompts, worded by the run's template, which the adapter in training answers: greedily, all at once. */
export class Sampler {
  readonly #base: Base;
  readonly #worded: readonly WordedSample[];
  readonly #endIds: readonly number[];
  readonly #mostTokens: number;

  /** null without sample prompts. @throws PROMPT_* naming the prompt, the signal's reason */
  static async open(
    base: Base,
    template: PromptTemplate,
    { sample_prompts, sample_tokens }: SampleSettings,
    signal?: AbortSignal,
  ): Promise<Sampler | null> {
    if (!sample_prompts || sample_prompts.length === 0) return null;
    const encoder = new PromptEncoder(base.tokenizer, base.model.config.maxPositionEmbeddings);
    const worded: WordedSample[] = [];
    for (const [i, prompt] of sample_prompts.entries()) {
      try {
        encoder.checkLength(prompt.length);
        const [input] = await template.render([conversationOf({ prompt })], signal);
        worded.push({ prompt, tokens: await encoder.encode(input!, signal) });
      } catch (error) {
        if (!isCodedError(error)) throw error;
        const message = `sample_prompts, number ${i + 1}: ${error.message}`;
        throw new CodedError(error.code, message, { hint: error.hint, cause: error });
      }
    }
    const { endId } = template.answer;
    const endIds = [...(base.checkpoint?.eosTokenIds ?? [base.tokenizer.eosId]), ...(endId === null ? [] : [endId])];
    return new Sampler(base, worded, [...new Set(endIds)], sample_tokens);
  }

  private constructor(base: Base, worded: readonly WordedSample[], endIds: readonly number[], mostTokens: number) {
    this.#base = base;
    this.#worded = worded;
    this.#endIds = endIds;
    this.#mostTokens = mostTokens;
  }

  /** @throws OUT_OF_MEMORY, LOGITS_NOT_FINITE, the signal's reason */
  async answers(adapter: EngineAdapter, signal?: AbortSignal): Promise<Sample[]> {
    const { model, tokenizer } = this.#base;
    const [scheduler, admission] = [new Scheduler(model), new CacheAdmission(model.cache)];
    const options = { temperature: 0, seed: 0, max_new_tokens: this.#mostTokens, ...(signal && { signal }) };
    const host = {
      tokenizer,
      context: model.config.maxPositionEmbeddings,
      scheduler,
      largestSequence: admission.largest,
    };
    const answers = this.#worded.map(({ tokens }) => {
      const openSequence = (capacity: number) =>
        admission.open(capacity, () => model.createSequence({ capacity, adapter }), signal);
      const prepared = { tokens, endIds: this.#endIds, openSequence, release: () => {} };
      return new Generation(options, { ...host, prepare: async () => prepared }).text();
    });
    // All of them have left the model before anything else is done with it.
    await Promise.allSettled(answers);
    const texts = await Promise.all(answers);
    return this.#worded.map(({ prompt }, i) => ({ prompt, answer: texts[i]! }));
  }
}

/**
 * Whether sample prompts are answered after so many steps: before the first, with every evaluation, after the last. Without
 * validation rows an epoch's end is none: a few rows have hundreds.
 */
export function isSampled(step: number, plan: Plan, hasValidation: boolean): boolean {
  const { steps, stepsPerEpoch, evaluatesEpochs, settings } = plan;
  if (step % settings.eval_steps === 0 || step === steps) return true;
  return hasValidation && evaluatesEpochs && step % stepsPerEpoch === 0;
}

/** The records worth keeping of a run of any length: the first, that of the best adapter, the last. */
export function keptSamples(records: readonly SampleRecord[], best: RunState["best"]): SampleRecord[] {
  return records.filter(({ step }, i) => i === 0 || i === records.length - 1 || step === best?.step);
}

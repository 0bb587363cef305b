import { checkInteger, checkSampling, checkTokens, refuse } from "../arguments.ts";
import { type LlamaConfig, linearNames } from "../config.ts";
import type {
  AdapterModule,
  EngineAdapter,
  EngineModel,
  EngineSequence,
  EngineTrainer,
  StepRequest,
  StepResult,
  TrainerOptions,
} from "../engine.ts";
import { NativeAdapter } from "./adapter.ts";
import type { AddonModel } from "./addon.ts";
import { toCodedError, withCodes } from "./failure.ts";
import { toAddonGroup } from "./group.ts";
import { type Appended, NativeSequence } from "./sequence.ts";
import { NativeTrainer } from "./trainer.ts";

export class NativeModel implements EngineModel {
  readonly config: LlamaConfig;
  readonly weightBytes: number;
  readonly cache: EngineModel["cache"];
  readonly #addon: AddonModel;
  #closing: Promise<void> | null = null;

  constructor(addon: AddonModel, config: LlamaConfig) {
    this.#addon = addon;
    this.config = config;
    this.weightBytes = addon.weightBytes;
    this.cache = { tokens: addon.cacheTokens, page: addon.cachePageTokens };
  }

  async createAdapter(modules: readonly AdapterModule[]): Promise<EngineAdapter> {
    const native = modules.map((module) => ({ ...module, linear: linearNames.indexOf(module.linear) }));
    const addon = await withCodes(() => this.#addon.createAdapter(native));
    const places = modules.map(({ layer, linear, rank, scale }) => ({ layer, linear, rank, scale }));
    return new NativeAdapter(addon, places);
  }

  async createSequence(options: { capacity: number; adapter?: EngineAdapter | null }): Promise<EngineSequence> {
    checkInteger("capacity", options.capacity, 1, this.config.maxPositionEmbeddings);
    const adapter = nativeAdapter(options.adapter);
    const addon = await withCodes(() => this.#addon.createSequence(options.capacity, adapter));
    return new NativeSequence(addon, options.capacity);
  }

  async step(requests: readonly StepRequest[]): Promise<StepResult[]> {
    const results: StepResult[] = requests.map(() => ({ token: -1 }));
    const accepted: { place: number; request: StepRequest; appended: Appended }[] = [];
    const sequences = new Set<EngineSequence>();
    for (const [place, request] of requests.entries()) {
      try {
        accepted.push({ place, request, appended: this.#accept(request, sequences) });
      } catch (error) {
        results[place] = { token: -1, error: error as Error };
      }
    }
    if (accepted.length === 0) return results;
    try {
      const { tokens, failures } = await withCodes(() =>
        this.#addon.step(
          accepted.map(({ appended }) => appended.addon),
          accepted.map(({ appended }) => appended.position),
          accepted.map(({ request }) => request.tokens),
          accepted.map(({ request }) => request.sampling),
          accepted.map(({ request }) => request.continuesUnless ?? null),
        ),
      );
      for (const [i, { place, appended }] of accepted.entries()) {
        const failure = failures[i];
        if (failure !== undefined) appended.undo();
        results[place] = { token: tokens[i]!, error: failure && toCodedError(failure) };
      }
      return results;
    } catch (error) {
      for (const { appended } of accepted) appended.undo();
      throw error;
    }
  }

  /** Checks a request and appends its tokens; `sequences` are those of the step so far. Throws ENGINE_ARGUMENT. */
  #accept({ sequence, tokens, sampling, continuesUnless }: StepRequest, sequences: Set<EngineSequence>): Appended {
    if (!(sequence instanceof NativeSequence)) refuse("the sequence belongs to another engine");
    if (sequences.has(sequence)) refuse("the sequence is in the step twice");
    checkTokens("tokens", tokens, this.config.vocabSize);
    if (sampling) checkSampling("sampling", sampling, this.config.vocabSize);
    if (continuesUnless && !(continuesUnless instanceof Int32Array)) refuse("continuesUnless is not an Int32Array");
    const appended = sequence.append(tokens.length);
    sequences.add(sequence);
    return appended;
  }

  async logits(tokens: Int32Array, adapter?: EngineAdapter | null): Promise<Float32Array> {
    checkTokens("tokens", tokens, this.config.vocabSize);
    return withCodes(() => this.#addon.logits(tokens, nativeAdapter(adapter)));
  }

  async createTrainer(adapter: EngineAdapter, options: TrainerOptions = {}): Promise<EngineTrainer> {
    const group = toAddonGroup(options);
    const addon = await withCodes(() => this.#addon.createTrainer(nativeAdapter(adapter)!, group));
    return new NativeTrainer(addon);
  }

  /** Waits for what is under way. Closing twice is one close. */
  close(): Promise<void> {
    this.#closing ??= withCodes(() => this.#addon.close());
    return this.#closing;
  }
}

function nativeAdapter(adapter: EngineAdapter | null | undefined) {
  if (adapter === null || adapter === undefined) return null;
  if (!(adapter instanceof NativeAdapter)) refuse("the adapter belongs to another engine");
  return adapter.addon;
}

import { CodedError } from "../../errors/index.ts";
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
import { checkInteger, checkSampling, checkTokens } from "./arguments.ts";
import { settle } from "./failure.ts";
import { toAddonGroup } from "./group.ts";
import { NativeSequence } from "./sequence.ts";
import { NativeTrainer } from "./trainer.ts";

export class NativeModel implements EngineModel {
  readonly config: LlamaConfig;
  readonly weightBytes: number;
  readonly #addon: AddonModel;
  #closing: Promise<void> | null = null;

  constructor(addon: AddonModel, config: LlamaConfig) {
    this.#addon = addon;
    this.config = config;
    this.weightBytes = addon.weightBytes;
  }

  async createAdapter(modules: readonly AdapterModule[]): Promise<EngineAdapter> {
    const native = modules.map((module) => ({ ...module, linear: linearNames.indexOf(module.linear) }));
    const addon = await settle(() => this.#addon.createAdapter(native));
    const places = modules.map(({ layer, linear, rank, scale }) => ({ layer, linear, rank, scale }));
    return new NativeAdapter(addon, places);
  }

  async createSequence(options: { capacity: number; adapter?: EngineAdapter | null }): Promise<EngineSequence> {
    checkInteger("capacity", options.capacity, 1, this.config.maxPositionEmbeddings);
    const adapter = nativeAdapter(options.adapter);
    const addon = await settle(() => this.#addon.createSequence(options.capacity, adapter));
    return new NativeSequence(addon, options.capacity);
  }

  async step(requests: readonly StepRequest[]): Promise<StepResult[]> {
    if (requests.length === 0) return [];
    const sequences = requests.map(({ sequence, tokens, sampling }, i) => {
      const name = `request ${i}`;
      if (!(sequence instanceof NativeSequence)) refuse(`${name}: the sequence belongs to another engine`);
      checkTokens(`${name} tokens`, tokens, this.config.vocabSize);
      if (sampling) checkSampling(`${name} sampling`, sampling, this.config.vocabSize);
      return sequence;
    });
    if (new Set(sequences).size !== sequences.length) refuse("a sequence is in the step twice");
    const appended: ReturnType<NativeSequence["append"]>[] = [];
    try {
      for (const [i, sequence] of sequences.entries()) {
        appended.push(sequence.append(requests[i]!.tokens.length, `request ${i}`));
      }
      const drawn = await settle(() =>
        this.#addon.step(
          appended.map(({ addon }) => addon),
          appended.map(({ position }) => position),
          requests.map(({ tokens }) => tokens),
          requests.map(({ sampling }) => sampling),
          requests.map(({ continuesUnless }) => continuesUnless ?? null),
        ),
      );
      return Array.from(drawn, (token) => ({ token }));
    } catch (error) {
      for (const { undo } of appended) undo();
      throw error;
    }
  }

  async logits(tokens: Int32Array, adapter?: EngineAdapter | null): Promise<Float32Array> {
    checkTokens("tokens", tokens, this.config.vocabSize);
    return settle(() => this.#addon.logits(tokens, nativeAdapter(adapter)));
  }

  async createTrainer(adapter: EngineAdapter, options: TrainerOptions = {}): Promise<EngineTrainer> {
    const group = toAddonGroup(options);
    const addon = await settle(() => this.#addon.createTrainer(nativeAdapter(adapter)!, group));
    return new NativeTrainer(addon);
  }

  /** Waits for what is under way. Closing twice is one close. */
  close(): Promise<void> {
    this.#closing ??= settle(() => this.#addon.close());
    return this.#closing;
  }
}

function nativeAdapter(adapter: EngineAdapter | null | undefined) {
  if (adapter === null || adapter === undefined) return null;
  if (!(adapter instanceof NativeAdapter)) refuse("the adapter belongs to another engine");
  return adapter.addon;
}

function refuse(message: string): never {
  throw new CodedError("ENGINE_ARGUMENT", message);
}

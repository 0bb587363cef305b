import type { Engine, EngineModel } from "../../engine/engine.ts";
import { openEngine } from "../../engine/open.ts";
import { type Checkpoint, chooseCheckpoint, describeCheckpoint, openCheckpoint } from "../checkpoint/index.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import type { TokenizerInput } from "../tokenizer/tokenizer-input.ts";
import { AdapterCache, type AdapterLease } from "./adapter-cache.ts";
import { weightedSources } from "./adapter-sources.ts";
import { CacheAdmission } from "./admission.ts";
import { Generation, type PreparedPrompt } from "./generation.ts";
import { type FileLike, type GenerateOptions, placeOf, type TemplatedQuestion } from "./options.ts";
import { type ServedModel, withOwnAdapter } from "./own-adapter.ts";
import { PromptEncoder } from "./prompt-encoder.ts";
import { Scheduler } from "./scheduler.ts";
import { PromptWording } from "./wording.ts";

export interface LlamaOptions {
  /** Checkpoint folder. The one that chooseCheckpoint finds by default: LLAMA_WEIGHTS, weights/, the embedded model. */
  readonly weights?: string | undefined;
  /** Archive, PEFT folder or URL of the adapter that is used where a request names none. */
  readonly adapter?: FileLike | null | undefined;
  /** LLAMA_ENGINE and LLAMA_DEVICE by default. */
  readonly engine?: Engine | undefined;
  /** Where the line about the model goes; console.log by default. */
  readonly log?: ((line: string) => void) | undefined;
  /** Of a training on several GPUs of this machine: which of them is its own. */
  readonly localRank?: number | undefined;
  /** Where warnings go; console.warn by default. */
  readonly warn?: ((line: string) => void) | undefined;
}

interface Parts {
  readonly encoder: PromptEncoder;
  readonly wording: PromptWording;
  readonly warn: (line: string) => void;
}

/** A base model on an engine, with its tokenizer, that continues texts. Any number of generations run at once. */
export class Llama {
  readonly checkpoint: Checkpoint;
  readonly engine: Engine;
  readonly model: EngineModel;
  readonly #adapters: AdapterCache;
  readonly #admission: CacheAdmission;
  readonly #encoder: PromptEncoder;
  readonly #wording: PromptWording;
  readonly #scheduler: Scheduler;
  /** Held as long as the model, so that no request waits for it. */
  #adapter: AdapterLease | null = null;

  /**
   * Opens the checkpoint, loads it into the engine, and the adapter with it.
   * @throws CHECKPOINT_*, TOKENIZER_*, ADAPTER_*, ENGINE_UNAVAILABLE, OUT_OF_MEMORY
   */
  static async load(options: LlamaOptions = {}): Promise<Llama> {
    const { log = console.log, warn = console.warn } = options;
    const engine = options.engine ?? (await openEngine(process.env, { localRank: options.localRank }));
    const base = await openCheckpoint(options.weights ?? (await chooseCheckpoint()));
    log(describeCheckpoint(base));
    for (const line of base.warnings) warn(line);
    const served = options.adapter ? await withOwnAdapter(base, options.adapter, { log, warn }) : asItIs(base);
    const { checkpoint } = served;
    const encoder = new PromptEncoder(checkpoint.tokenizer, checkpoint.config.maxPositionEmbeddings);
    const [model, wording] = await Promise.all([
      engine.load(checkpoint.weights).finally(() => served.remove()),
      PromptWording.open(checkpoint, encoder, warn),
    ]);
    const llama = new Llama(engine, checkpoint, model, { encoder, wording, warn });
    if (served.adapter !== null) {
      const source = { ...placeOf(options.adapter!), weight: 1 };
      llama.#adapter = await llama.#adapters.hold(source, served.adapter);
    }
    return llama;
  }

  private constructor(engine: Engine, checkpoint: Checkpoint, model: EngineModel, { encoder, wording, warn }: Parts) {
    this.engine = engine;
    this.checkpoint = checkpoint;
    this.model = model;
    this.#adapters = new AdapterCache(model, checkpoint.publishedName, warn);
    this.#encoder = encoder;
    this.#wording = wording;
    this.#admission = new CacheAdmission(model.cache);
    this.#scheduler = new Scheduler(model);
  }

  get tokenizer(): Tokenizer {
    return this.checkpoint.tokenizer;
  }

  /** The base model's name, never a path. */
  get name(): string {
    return this.checkpoint.name;
  }

  /** Continues a text or its tokens as they stand, or answers a question by its template. It starts when it is iterated. */
  generate(prompt: TokenizerInput | TemplatedQuestion, options: GenerateOptions = {}): Generation {
    return new Generation(options, {
      tokenizer: this.tokenizer,
      context: this.model.config.maxPositionEmbeddings,
      scheduler: this.#scheduler,
      largestSequence: this.#admission.largest,
      prepare: () => this.#prepare(prompt, options),
    });
  }

  /** The title of the template that `auto` chooses where a request brings no adapter; why it cannot be used otherwise. */
  defaultTemplate(): Promise<string> {
    return this.#wording.defaultTitle(this.#adapter?.promptTemplate ?? null);
  }

  /** Frees the model. Generations under way fail. */
  async close(): Promise<void> {
    await this.#adapters.close();
    await this.model.close();
  }

  async #prepare(prompt: TokenizerInput | TemplatedQuestion, options: GenerateOptions): Promise<PreparedPrompt> {
    const { signal } = options;
    const sources = weightedSources(options);
    const lease = sources.length === 0 ? null : await this.#adapters.lease(sources, signal);
    try {
      const { adapter, promptTemplate } = lease ?? this.#adapter ?? { adapter: null, promptTemplate: null };
      const { input, endIds } = await this.#wording.word(prompt, promptTemplate, options);
      const tokens = await this.#encoder.encode(input, signal);
      return {
        tokens,
        endIds: [...new Set([...this.checkpoint.eosTokenIds, ...endIds])],
        openSequence: (capacity) =>
          this.#admission.open(capacity, () => this.model.createSequence({ capacity, adapter }), signal),
        release: () => lease?.release(),
      };
    } catch (error) {
      lease?.release();
      throw error;
    }
  }
}

function asItIs(checkpoint: Checkpoint): ServedModel {
  return { checkpoint, adapter: null, remove: async () => {} };
}

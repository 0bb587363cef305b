import type { Engine, EngineAdapter, EngineModel } from "../../engine/engine.ts";
import { openEngine } from "../../engine/open.ts";
import { type Checkpoint, chooseCheckpoint, describeCheckpoint, openCheckpoint } from "../checkpoint/index.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import type { TokenizerInput } from "../tokenizer/tokenizer-input.ts";
import { AdapterCache, type AdapterLease } from "./adapter-cache.ts";
import { type Admitted, CacheAdmission } from "./admission.ts";
import { Generation } from "./generation.ts";
import type { FileLike, GenerateOptions } from "./options.ts";
import { PromptEncoder } from "./prompt-encoder.ts";
import { Scheduler } from "./scheduler.ts";

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

/** A base model on an engine, with its tokenizer, that continues texts. Any number of generations run at once. */
export class Llama {
  readonly checkpoint: Checkpoint;
  readonly engine: Engine;
  readonly model: EngineModel;
  readonly #adapters: AdapterCache;
  readonly #admission: CacheAdmission;
  readonly #encoder: PromptEncoder;
  readonly #scheduler: Scheduler;
  /** Held as long as the model, so that no request waits for it. */
  #adapter: EngineAdapter | null = null;

  /**
   * Opens the checkpoint, loads it into the engine, and the adapter with it.
   * @throws CHECKPOINT_*, TOKENIZER_*, ADAPTER_*, ENGINE_UNAVAILABLE, OUT_OF_MEMORY
   */
  static async load(options: LlamaOptions = {}): Promise<Llama> {
    const { log = console.log, warn = console.warn } = options;
    const engine = options.engine ?? (await openEngine(process.env, { localRank: options.localRank }));
    const checkpoint = await openCheckpoint(options.weights ?? (await chooseCheckpoint()));
    log(describeCheckpoint(checkpoint));
    for (const line of checkpoint.warnings) warn(line);
    const llama = new Llama(engine, checkpoint, await engine.load(checkpoint.weights), warn);
    if (options.adapter) llama.#adapter = (await llama.#lease(options.adapter)).adapter;
    return llama;
  }

  private constructor(engine: Engine, checkpoint: Checkpoint, model: EngineModel, warn: (line: string) => void) {
    this.engine = engine;
    this.checkpoint = checkpoint;
    this.model = model;
    this.#adapters = new AdapterCache(model, checkpoint.publishedName, warn);
    this.#encoder = new PromptEncoder(checkpoint.tokenizer, model.config.maxPositionEmbeddings);
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

  /** Continues `prompt` as it stands (see renderPrompt for templates). It starts when it is iterated. */
  generate(prompt: TokenizerInput, options: GenerateOptions = {}): Generation {
    return new Generation(prompt, options, {
      tokenizer: this.tokenizer,
      encoder: this.#encoder,
      eosTokenIds: this.checkpoint.eosTokenIds,
      context: this.model.config.maxPositionEmbeddings,
      scheduler: this.#scheduler,
      largestSequence: this.#admission.largest,
      openSequence: (capacity) => this.#openSequence(capacity, options),
    });
  }

  /** Frees the model. Generations under way fail. */
  async close(): Promise<void> {
    await this.#adapters.close();
    await this.model.close();
  }

  async #openSequence(capacity: number, { adapter: source = null, signal }: GenerateOptions): Promise<Admitted> {
    const lease = source === null ? null : await this.#lease(source, signal);
    try {
      const create = () => this.model.createSequence({ capacity, adapter: lease?.adapter ?? this.#adapter });
      const { sequence, close } = await this.#admission.open(capacity, create, signal);
      const closeBoth = () => {
        close();
        lease?.release();
      };
      return { sequence, close: closeBoth };
    } catch (error) {
      lease?.release();
      throw error;
    }
  }

  #lease(source: FileLike, signal?: AbortSignal): Promise<AdapterLease> {
    const { path, name } = typeof source === "string" ? { path: source } : source;
    return this.#adapters.lease(path, name, signal);
  }
}

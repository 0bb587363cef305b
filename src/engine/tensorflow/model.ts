import { freemem } from "node:os";
import type { Tensor, Tensor2D } from "@tensorflow/tfjs-core";
import { CodedError } from "../../errors/index.ts";
import { checkSampling, checkTokens, refuse } from "../arguments.ts";
import type { LlamaConfig } from "../config.ts";
import type {
  AdapterModule,
  Dropout,
  EngineAdapter,
  EngineModel,
  EngineSequence,
  EngineTrainer,
  PackedBatch,
  StepRequest,
  StepResult,
  TrainerOptions,
} from "../engine.ts";
import { sampleToken } from "../sampling.ts";
import { TensorflowAdapter } from "./adapter.ts";
import type { TensorFlow } from "./backend.ts";
import { hiddenStates } from "./forward.ts";
import { layoutOf } from "./layout.ts";
import { lossSum } from "./loss.ts";
import { parametersOf } from "./parameters.ts";
import { TensorflowSequence } from "./sequence.ts";
import { createTrainer, type Queue } from "./trainer.ts";
import { headOf } from "./weights.ts";

/** A LLaMA as float32 TensorFlow.js tensors. Each pass runs in one piece: TensorFlow.js computes synchronously. */
export class TensorflowModel implements EngineModel {
  readonly config: LlamaConfig;
  readonly weightBytes: number;
  readonly cache: EngineModel["cache"];
  readonly #tf: TensorFlow;
  readonly #tensors: ReadonlyMap<string, Tensor>;
  readonly #adapters = new Set<TensorflowAdapter>();
  readonly #sequences = new Set<TensorflowSequence>();
  readonly #trainers = new Set<EngineTrainer>();
  #last: Promise<unknown> = Promise.resolve();
  #closed = false;

  /** `cacheBytes` is LLAMA_CACHE_BYTES. */
  constructor(tf: TensorFlow, config: LlamaConfig, tensors: ReadonlyMap<string, Tensor>, cacheBytes: number) {
    this.#tf = tf;
    this.config = config;
    this.#tensors = tensors;
    // A step holds the tensors before and after it; a quarter of the memory stays for what else runs here.
    const most = cacheBytes || ((process.availableMemory?.() ?? freemem()) * 3) / 8;
    const tokenBytes = 4 * 2 * config.layers * config.kvHeads * config.headDim;
    this.cache = { tokens: Math.floor(most / tokenBytes), page: 1 };
    this.weightBytes = [...tensors.values()].reduce((bytes, { size }) => bytes + 4 * size, 0);
  }

  readonly #queue: Queue = (job) => {
    // The pause lets the event loop breathe between passes.
    const result = this.#last
      .then(() => new Promise((resolve) => setImmediate(resolve)))
      .then(() => {
        if (this.#closed) refuse("the model is closed");
        return job();
      });
    this.#last = result.catch(() => {});
    return result;
  };

  createAdapter(modules: readonly AdapterModule[]): Promise<EngineAdapter> {
    return this.#queue(async () => {
      const adapter = new TensorflowAdapter(this.#tf, this.config, modules);
      this.#adapters.add(adapter);
      return adapter;
    });
  }

  createSequence({
    capacity,
    adapter,
  }: {
    capacity: number;
    adapter?: EngineAdapter | null;
  }): Promise<TensorflowSequence> {
    return this.#queue(async () => {
      let taken = 0;
      for (const open of this.#sequences) taken += open.capacity;
      if (taken + capacity > this.cache.tokens) {
        const left = `${this.cache.tokens - taken} of ${this.cache.tokens} tokens are left`;
        throw new CodedError("OUT_OF_MEMORY", `a key/value cache of ${capacity} tokens does not fit: ${left}`, {
          hint: "Ask for fewer max_new_tokens or for fewer answers at once, or raise LLAMA_CACHE_BYTES.",
        });
      }
      const sequence = new TensorflowSequence(
        this.#tf,
        capacity,
        (adapter as TensorflowAdapter | null | undefined) ?? null,
        (closed) => this.#sequences.delete(closed),
      );
      this.#sequences.add(sequence);
      return sequence;
    });
  }

  async step(requests: readonly StepRequest[]): Promise<StepResult[]> {
    if (this.#closed) refuse("the model is closed");
    const sequences = new Set<EngineSequence>();
    const run = async (request: StepRequest): Promise<StepResult> => {
      if (sequences.has(request.sequence)) refuse("the sequence is in the step twice");
      sequences.add(request.sequence);
      return this.#queue(() => this.#stepOne(request));
    };
    return Promise.all(requests.map((request) => run(request).catch((error: Error) => ({ token: -1, error }))));
  }

  async #stepOne({ sequence, tokens, sampling }: StepRequest): Promise<StepResult> {
    const tf = this.#tf;
    if (!(sequence instanceof TensorflowSequence)) refuse("the sequence belongs to another engine");
    const own = sequence;
    checkTokens("tokens", tokens, this.config.vocabSize);
    if (sampling) checkSampling("sampling", sampling, this.config.vocabSize);
    const past = own.length;
    if (past + tokens.length > own.capacity) {
      refuse(`${past + tokens.length} tokens do not fit into a sequence of ${own.capacity}`);
    }
    if (!this.#sequences.has(own)) refuse("the sequence is closed");
    const { extendCache, commit, discard } = own.extend();
    // The head's product is cheap beside the layers, so it is computed for every step and read only where a token is drawn.
    let logits: Tensor2D;
    try {
      logits = tf.tidy(() => {
        const layout = layoutOf(tf, this.config, [tokens.length], past);
        const ids = tf.tensor1d(tokens, "int32");
        const hidden = hiddenStates(
          tf,
          this.config,
          parametersOf(tf, this.config, this.#tensors, own.adapter),
          ids,
          layout,
          extendCache,
        );
        const last = tf.slice(hidden, [tokens.length - 1, 0], [1, this.config.hiddenSize]) as Tensor2D;
        return tf.matMul(last, this.#head(), false, true);
      });
    } catch (error) {
      discard();
      throw error;
    }
    commit(tokens);
    const scores = sampling ? ((await logits.data()) as Float32Array) : null;
    logits.dispose();
    if (!scores || !sampling) return { token: -1 };
    const token = sampleToken(scores, own.history, sampling);
    if (token >= 0) return { token };
    own.truncate(past);
    throw new CodedError("LOGITS_NOT_FINITE", "the logits hold NaN or infinity: the weights or the adapter overflow");
  }

  logits(tokens: Int32Array, adapter: EngineAdapter | null = null): Promise<Float32Array> {
    return this.#queue(async () => {
      const tf = this.#tf;
      checkTokens("tokens", tokens, this.config.vocabSize);
      const logits = tf.tidy(() => {
        const parameters = parametersOf(tf, this.config, this.#tensors, adapter as TensorflowAdapter | null);
        const ids = tf.tensor1d(tokens, "int32");
        const hidden = hiddenStates(tf, this.config, parameters, ids, layoutOf(tf, this.config, [tokens.length], 0));
        return tf.matMul(hidden, this.#head(), false, true);
      });
      const copy = Float32Array.from(await logits.data());
      logits.dispose();
      return copy;
    });
  }

  createTrainer(adapter: EngineAdapter, { ranks }: TrainerOptions = {}): Promise<EngineTrainer> {
    return this.#queue(async () => {
      if (ranks !== undefined && ranks.size > 1) {
        const hint = "Leave LLAMA_ENGINE out, or set LLAMA_DISTRIBUTED=off.";
        throw new CodedError("DISTRIBUTED_UNAVAILABLE", "the TensorFlow engine trains on one rank only", { hint });
      }
      const own = adapter as TensorflowAdapter;
      const loss = (batch: PackedBatch, labelled: Int32Array, dropout: Dropout | null): Tensor =>
        lossSum(this.#tf, this.config, this.#tensors, { adapter: own, batch, labelled, dropout });
      const trainer = createTrainer(this.#tf, own, loss, this.#queue);
      this.#trainers.add(trainer);
      return trainer;
    });
  }

  #head(): Tensor2D {
    return headOf(this.#tensors, this.config.tiedHead);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    for (const trainer of this.#trainers) await trainer.close();
    this.#closed = true;
    await this.#last;
    for (const sequence of this.#sequences) sequence.close();
    for (const adapter of this.#adapters) await adapter.close();
    this.#tf.dispose([...this.#tensors.values()]);
  }
}

import type { Tensor } from "@tensorflow/tfjs-core";
import { CodedError } from "../../errors/index.ts";
import type { EngineSequence } from "../engine.ts";
import type { TensorflowAdapter } from "./adapter.ts";
import type { TensorFlow } from "./backend.ts";
import type { ExtendCache } from "./forward.ts";

/** Keys and values of one sequence as tensors [1, kv_heads, length, head_dim] per layer, extended by concatenation. */
export class TensorflowSequence implements EngineSequence {
  readonly capacity: number;
  readonly adapter: TensorflowAdapter | null;
  /** Tokens in the cache, in order. */
  readonly history: number[] = [];
  readonly #tf: TensorFlow;
  #layers: { k: Tensor; v: Tensor }[] = [];

  readonly #closed: (sequence: TensorflowSequence) => void;

  constructor(
    tf: TensorFlow,
    capacity: number,
    adapter: TensorflowAdapter | null,
    closed: (sequence: TensorflowSequence) => void,
  ) {
    if (!Number.isSafeInteger(capacity) || capacity < 1) {
      throw new CodedError("ENGINE_ARGUMENT", `a sequence's capacity is a count of tokens, not ${capacity}`);
    }
    this.#tf = tf;
    this.capacity = capacity;
    this.adapter = adapter;
    this.#closed = closed;
  }

  get length(): number {
    return this.history.length;
  }

  truncate(length: number): void {
    if (!Number.isInteger(length) || length < 0 || length > this.length) {
      throw new CodedError("ENGINE_ARGUMENT", `cannot truncate a sequence of ${this.length} tokens to ${length}`);
    }
    if (length === this.length) return;
    this.history.length = length;
    const cut = (x: Tensor): Tensor => this.#tf.slice(x, [0, 0, 0, 0], [1, x.shape[1]!, length, x.shape[3]!]);
    const old = this.#layers;
    this.#layers = length === 0 ? [] : old.map(({ k, v }) => ({ k: cut(k), v: cut(v) }));
    this.#dispose(old);
  }

  /**
   * Takes a pass's keys and values; after the pass `commit` makes them part of the sequence, `discard` leaves it as it
   * was.
   */
  extend(): { extendCache: ExtendCache; commit(tokens: Int32Array): void; discard(): void } {
    const tf = this.#tf;
    const grown: { k: Tensor; v: Tensor }[] = [];
    return {
      extendCache: (layer, k, v) => {
        const past = this.#layers[layer];
        const all = past ? { k: tf.concat([past.k, k], 2), v: tf.concat([past.v, v], 2) } : { k, v };
        grown[layer] = { k: tf.keep(tf.clone(all.k)), v: tf.keep(tf.clone(all.v)) };
        return all;
      },
      commit: (tokens) => {
        this.#dispose(this.#layers);
        this.#layers = grown;
        for (const token of tokens) this.history.push(token);
      },
      discard: () => this.#dispose(grown),
    };
  }

  close(): void {
    this.#dispose(this.#layers);
    this.#layers = [];
    this.history.length = 0;
    this.#closed(this);
  }

  #dispose(layers: readonly { k: Tensor; v: Tensor }[]): void {
    for (const { k, v } of layers) this.#tf.dispose([k, v]);
  }
}

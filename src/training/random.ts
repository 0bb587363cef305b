import { type PhiloxWords, philox4x32, split64, unitInterval } from "../engine/philox.ts";

/** What a stream of random numbers is for; streams of one seed are independent. */
const purposes = { "validation split": 1, shuffle: 2, "initial adapter": 3 } as const;

/** A sequence of random numbers that depends on the seed, the purpose and a number within it, and nothing else. */
export class RandomStream {
  readonly #key: readonly [number, number];
  readonly #purpose: number;
  readonly #number: number;
  #index = 0;
  #words: PhiloxWords = [0, 0, 0, 0];

  constructor(seed: number, purpose: keyof typeof purposes, number = 0) {
    const [low, high] = split64(seed);
    // A seed has 53 bits; dropout and sampling leave the top bit alone.
    this.#key = [low, (high | 0x8000_0000) >>> 0];
    this.#purpose = purposes[purpose];
    this.#number = number;
  }

  /** [0, 1), 24 bits */
  next(): number {
    return unitInterval(this.#word());
  }

  /** 0 .. count - 1 */
  below(count: number): number {
    return Math.floor((this.#word() * count) / 2 ** 32);
  }

  #word(): number {
    const lane = this.#index % 4;
    if (lane === 0) this.#words = philox4x32([this.#index / 4, this.#purpose, this.#number, 0], ...this.#key);
    this.#index++;
    return this.#words[lane]!;
  }
}

/** 0 .. count - 1 in random order (Fisher and Yates). */
export function permutation(count: number, stream: RandomStream): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = stream.below(i + 1);
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}

import { checkInteger, refuse } from "../arguments.ts";
import type { EngineSequence } from "../engine.ts";
import type { AddonSequence } from "./addon.ts";

/** Tokens that are being appended, from `position` on. */
export interface Appended {
  readonly addon: AddonSequence;
  readonly position: number;
  readonly undo: () => void;
}

/** The length is kept here; the cache itself only ever overwrites what lies behind it. */
export class NativeSequence implements EngineSequence {
  readonly capacity: number;
  readonly #addon: AddonSequence;
  #length = 0;
  #closed = false;

  constructor(addon: AddonSequence, capacity: number) {
    this.#addon = addon;
    this.capacity = capacity;
  }

  get length(): number {
    return this.#length;
  }

  truncate(length: number): void {
    checkInteger("length", length, 0, this.#length);
    this.#length = length;
  }

  close(): void {
    this.#closed = true;
    this.#addon.close();
  }

  /** Counts tokens as appended when their step is handed over; their failure takes them back. Throws ENGINE_ARGUMENT. */
  append(count: number): Appended {
    if (this.#closed) refuse("the sequence is closed");
    const position = this.#length;
    if (position + count > this.capacity) {
      refuse(`${position + count} tokens do not fit into a sequence of ${this.capacity}`);
    }
    this.#length += count;
    const undo = () => {
      this.#length = Math.min(this.#length, position);
    };
    return { addon: this.#addon, position, undo };
  }
}

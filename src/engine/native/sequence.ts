import { CodedError } from "../../errors/index.ts";
import type { EngineSequence } from "../engine.ts";
import type { AddonSequence } from "./addon.ts";
import { checkInteger } from "./arguments.ts";

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

  /** Counts tokens as appended when their step is handed over; the step's failure takes them back. */
  append(count: number, name: string): { addon: AddonSequence; position: number; undo: () => void } {
    if (this.#closed) throw new CodedError("ENGINE_ARGUMENT", `${name}: the sequence is closed`);
    const position = this.#length;
    if (position + count > this.capacity) {
      const message = `${name}: ${position + count} tokens do not fit into a sequence of ${this.capacity}`;
      throw new CodedError("ENGINE_ARGUMENT", message);
    }
    this.#length += count;
    const undo = () => {
      this.#length = Math.min(this.#length, position);
    };
    return { addon: this.#addon, position, undo };
  }
}

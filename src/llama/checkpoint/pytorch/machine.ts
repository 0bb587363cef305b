import type { PickleBytes } from "./pickle-bytes.ts";
import { quoted, type Refusal } from "./refusal.ts";
import type { Storage, Value } from "./values.ts";

/** What stands on the stack where a list of items begins. */
const mark = Symbol("mark");

/** The stack and the memo of a pickle that is being read. */
export class Machine {
  readonly bytes: PickleBytes;
  readonly refusal: Refusal;
  /** By key; two that differ under one key are refused. */
  readonly storages = new Map<string, Storage>();
  readonly #stack: (Value | typeof mark)[] = [];
  readonly #memo = new Map<number, Value>();

  constructor(bytes: PickleBytes, refusal: Refusal) {
    this.bytes = bytes;
    this.refusal = refusal;
  }

  push(value: Value): void {
    this.#stack.push(value);
  }

  pop(): Value {
    const value = this.top();
    this.#stack.pop();
    return value;
  }

  top(): Value {
    const value = this.#stack.at(-1);
    return value === undefined || value === mark ? this.#damaged() : value;
  }

  mark(): void {
    this.#stack.push(mark);
  }

  /** The values above the last mark, taken off with it. */
  popToMark(): Value[] {
    const start = this.#stack.lastIndexOf(mark);
    if (start < 0) this.#damaged();
    return this.#stack.splice(start).slice(1) as Value[];
  }

  /** Notes the top of the stack, at the next free number where none is given. */
  remember(at = this.#memo.size): void {
    this.#memo.set(at, this.top());
  }

  recall(at: number): Value {
    const value = this.#memo.get(at);
    return value === undefined ? this.#damaged() : value;
  }

  pushStorage(storage: Storage): void {
    const known = this.storages.get(storage.key) ?? storage;
    if (known.dtype !== storage.dtype || known.count !== storage.count) {
      this.refusal.corrupt(`its pickle describes storage ${quoted(storage.key)} in two ways`);
    }
    this.storages.set(storage.key, storage);
    this.push(storage);
  }

  #damaged(): never {
    return this.refusal.corrupt("its pickle is damaged: it uses a value that is not there");
  }
}

import type { Refusal } from "./refusal.ts";

/** Longest line of an opcode that takes text: names of classes, decimal numbers. */
const mostLine = 1024;

/** A pickle's bytes, read in order; no read goes past the end. */
export class PickleBytes {
  readonly #bytes: Buffer;
  readonly #refusal: Refusal;
  position: number;

  constructor(bytes: Uint8Array, position: number, refusal: Refusal) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#refusal = refusal;
    this.position = position;
  }

  u8 = () => this.#bytes.readUInt8(this.#advance(1));
  u16 = () => this.#bytes.readUInt16LE(this.#advance(2));
  u32 = () => this.#bytes.readUInt32LE(this.#advance(4));
  i32 = () => this.#bytes.readInt32LE(this.#advance(4));
  /** A length of 64 bits; one over what a number holds is past the end anyway. */
  u64 = () => Number(this.#bytes.readBigUInt64LE(this.#advance(8)));
  /** Python writes this one big-endian. */
  f64 = () => this.#bytes.readDoubleBE(this.#advance(8));

  take(length: number): Buffer {
    const start = this.#advance(length);
    return this.#bytes.subarray(start, start + length);
  }

  utf8 = (length: number) => this.take(length).toString("utf8");
  latin1 = (length: number) => this.take(length).toString("latin1");

  /** Text up to the end of the line, without it. */
  line(): string {
    const end = this.#bytes.indexOf(10, this.position);
    if (end < 0 || end - this.position > mostLine) this.#refusal.corrupt("its pickle is damaged: a line without end");
    const text = this.utf8(end - this.position);
    this.position++;
    return text;
  }

  /** A little-endian integer in two's complement. */
  integer(length: number): number | bigint {
    const bytes = this.take(length);
    if (length > 16) return this.#refusal.corrupt(`its pickle holds an integer of ${length} bytes`);
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i]!);
    return narrowed(BigInt.asIntN(8 * length, value));
  }

  #advance(length: number): number {
    const start = this.position;
    if (length > this.#bytes.length - start) this.#refusal.corrupt("its pickle is damaged: it ends too early");
    this.position += length;
    return start;
  }
}

/** A number where it is exact. */
export function narrowed(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

/** Thrown where a value continues beyond the bytes that have been read of a file. */
export class EndOfBytes extends Error {}

/** What is wrong with the bytes, for the reader to say of which file. */
export class BadBytes extends Error {}

/** Far above every published name, template and token. */
const longestString = 2 ** 20;
/** Published vocabularies have 262,144 tokens and twice as many merges. */
const longestArray = 2 ** 24;

export type GgufValue = number | boolean | string | GgufArray;
export type GgufArray = readonly string[] | NumberArray;
type NumberArray =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array;

interface ScalarType {
  readonly bytes: number;
  readonly read: (view: DataView, at: number) => number | boolean;
  readonly array: (length: number) => NumberArray;
}

/** GGUF's value types that are numbers, by their ids. 64-bit integers become doubles. */
const scalars = new Map<number, ScalarType>([
  [0, { bytes: 1, read: (view, at) => view.getUint8(at), array: (length) => new Uint8Array(length) }],
  [1, { bytes: 1, read: (view, at) => view.getInt8(at), array: (length) => new Int8Array(length) }],
  [2, { bytes: 2, read: (view, at) => view.getUint16(at, true), array: (length) => new Uint16Array(length) }],
  [3, { bytes: 2, read: (view, at) => view.getInt16(at, true), array: (length) => new Int16Array(length) }],
  [4, { bytes: 4, read: (view, at) => view.getUint32(at, true), array: (length) => new Uint32Array(length) }],
  [5, { bytes: 4, read: (view, at) => view.getInt32(at, true), array: (length) => new Int32Array(length) }],
  [6, { bytes: 4, read: (view, at) => view.getFloat32(at, true), array: (length) => new Float32Array(length) }],
  [7, { bytes: 1, read: (view, at) => flag(view.getUint8(at)), array: (length) => new Uint8Array(length) }],
  [
    10,
    { bytes: 8, read: (view, at) => Number(view.getBigUint64(at, true)), array: (length) => new Float64Array(length) },
  ],
  [
    11,
    { bytes: 8, read: (view, at) => Number(view.getBigInt64(at, true)), array: (length) => new Float64Array(length) },
  ],
  [12, { bytes: 8, read: (view, at) => view.getFloat64(at, true), array: (length) => new Float64Array(length) }],
]);
const stringType = 8;
const arrayType = 9;

function flag(byte: number): boolean {
  if (byte > 1) throw new BadBytes(`a flag is ${byte}, not 0 or 1`);
  return byte === 1;
}

/** Reads GGUF's values one after another. Throws EndOfBytes, and BadBytes for what no file may hold. */
export class Cursor {
  readonly #bytes: Buffer;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Bytes read so far. */
  get position(): number {
    return this.#at;
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }

  /** A u64 that must be at most `most`; `what` names it in the error. */
  size(what: string, most: number): number {
    const value = this.#view.getBigUint64(this.#take(8), true);
    if (value > BigInt(most)) throw new BadBytes(`${what} is ${value}, at most ${most} is possible`);
    return Number(value);
  }

  string(what = "a string's length", most = longestString): string {
    const length = this.size(what, most);
    const at = this.#take(length);
    return this.#bytes.toString("utf8", at, at + length);
  }

  /** A value of any type, with its type before it. */
  value(): GgufValue {
    const type = this.u32();
    if (type !== arrayType) return this.#plain(type);
    const element = this.u32();
    if (element === arrayType) throw new BadBytes("it is an array of arrays");
    const length = this.size("an array's length", longestArray);
    if (element === stringType) {
      this.#need(8 * length);
      const strings: string[] = [];
      for (let i = 0; i < length; i++) strings.push(this.string());
      return strings;
    }
    const scalar = scalarOf(element);
    this.#need(scalar.bytes * length);
    const numbers = scalar.array(length);
    for (let i = 0; i < length; i++) numbers[i] = Number(scalar.read(this.#view, this.#take(scalar.bytes)));
    return numbers;
  }

  #plain(type: number): number | boolean | string {
    if (type === stringType) return this.string();
    const scalar = scalarOf(type);
    return scalar.read(this.#view, this.#take(scalar.bytes));
  }

  #take(bytes: number): number {
    this.#need(bytes);
    const at = this.#at;
    this.#at += bytes;
    return at;
  }

  #need(bytes: number): void {
    if (bytes > this.#bytes.length - this.#at) throw new EndOfBytes();
  }
}

function scalarOf(type: number): ScalarType {
  const scalar = scalars.get(type);
  if (scalar === undefined) throw new BadBytes(`it has value type ${type}, which the format does not know`);
  return scalar;
}

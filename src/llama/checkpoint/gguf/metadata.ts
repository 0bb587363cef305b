import { CodedError } from "../../../errors/index.ts";
import type { GgufArray, GgufValue } from "./cursor.ts";
import type { GgufHeader } from "./header.ts";

/** The values of a GGUF header, taken one by one, each checked and named in the error. */
export class Metadata {
  readonly file: string;
  readonly #values: ReadonlyMap<string, GgufValue>;

  constructor({ file, metadata }: Pick<GgufHeader, "file" | "metadata">) {
    this.file = file;
    this.#values = metadata;
  }

  has(key: string): boolean {
    return this.#values.has(key);
  }

  raw(key: string): GgufValue | null {
    return this.#values.get(key) ?? null;
  }

  /** A count from 1 to `most`; required where `absent` is not given. A list of equal counts, one a layer, is one count. */
  count(key: string, most: number, absent?: number): number {
    const value = this.#same(key) ?? absent ?? null;
    if (!Number.isSafeInteger(value) || (value as number) < 1 || (value as number) > most) {
      this.refuse(key, `a whole number from 1 to ${most}`);
    }
    return value as number;
  }

  /** A finite number greater than zero. */
  positive(key: string, absent?: number): number {
    const value = this.raw(key) ?? absent ?? null;
    if (typeof value !== "number" || !Number.isFinite(value) || value <= 0) this.refuse(key, "a number above 0");
    return shortest(value as number);
  }

  flag(key: string): boolean | null {
    const value = this.raw(key);
    if (value !== null && typeof value !== "boolean") this.refuse(key, "true or false");
    return value as boolean | null;
  }

  text(key: string): string | null {
    const value = this.raw(key);
    if (value !== null && typeof value !== "string") this.refuse(key, "a text");
    return value as string | null;
  }

  texts(key: string): readonly string[] | null {
    const value = this.raw(key);
    if (value === null || isTexts(value)) return value;
    return this.refuse(key, "a list of texts");
  }

  numbers(key: string): readonly number[] | null {
    const value = this.raw(key);
    if (value === null) return null;
    if (typeof value !== "object" || isTexts(value)) return this.refuse(key, "a list of numbers");
    return Array.from(value as Exclude<GgufArray, readonly string[]>);
  }

  /** A token's id; null where it is absent. An id that is none (-1) counts as absent. */
  tokenId(key: string): number | null {
    const value = this.raw(key);
    if (value === null || value === -1 || value === 0xffffffff) return null;
    if (!Number.isSafeInteger(value) || (value as number) < 0) this.refuse(key, "a token id");
    return value as number;
  }

  refuse(key: string, expected: string): never {
    const value = this.#values.get(key);
    const found = value === undefined ? "is missing" : `is ${shown(value)}`;
    throw new CodedError("CHECKPOINT_CONFIG", `${this.file}: "${key}" ${found}; ${expected} is needed`);
  }

  unsupported(key: string, why: string): never {
    throw new CodedError("CHECKPOINT_UNSUPPORTED", `${this.file}: "${key}": ${why}`);
  }

  /** The number under a key; of a list, the one that all of its members are. */
  #same(key: string): number | null {
    const value = this.raw(key);
    if (value === null || typeof value === "number") return value;
    if (typeof value !== "object" || isTexts(value) || value.length === 0) return this.refuse(key, "a number");
    const [first] = value;
    if (value.some((item) => item !== first)) this.unsupported(key, "layers of different sizes are not supported");
    return first!;
  }
}

function isTexts(value: GgufValue): value is readonly string[] {
  return Array.isArray(value);
}

function shown(value: GgufValue): string {
  if (typeof value === "object") return `a list of ${value.length}`;
  return JSON.stringify(typeof value === "string" ? value.slice(0, 100) : value);
}

/** The shortest decimal that a float32 stands for: 9.999999747378752e-06 was 1e-5. */
function shortest(value: number): number {
  if (Math.fround(value) !== value) return value;
  for (let digits = 6; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return short;
  }
  return value;
}

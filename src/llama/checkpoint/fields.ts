import { CodedError } from "../../errors/index.ts";
import { parseBoundedJson } from "../bounded-json.ts";

/** A JSON object of config.json whose values are taken one by one, each checked and named in the error. */
export class Fields {
  readonly #values: ReadonlyMap<string, unknown>;
  readonly #file: string;
  readonly #path: string;

  constructor(object: object, file: string, path = "") {
    this.#values = new Map(Object.entries(object));
    this.#file = file;
    this.#path = path;
  }

  /** null and absent are the same in these files. */
  has(name: string): boolean {
    return (this.#values.get(name) ?? null) !== null;
  }

  isGiven(name: string): boolean {
    return this.#values.has(name);
  }

  raw(name: string): unknown {
    return this.#values.get(name) ?? null;
  }

  /** A count from 1 to `most`; required where `absent` is not given. */
  count(name: string, most: number, absent?: number): number {
    const value = this.raw(name) ?? absent ?? null;
    if (!Number.isSafeInteger(value) || (value as number) < 1 || (value as number) > most) {
      this.refuse(name, `a whole number from 1 to ${most}`);
    }
    return value as number;
  }

  /** A finite number greater than zero. */
  positive(name: string, absent?: number): number {
    const value = this.raw(name) ?? absent ?? null;
    if (typeof value !== "number" || !Number.isFinite(value) || value <= 0) this.refuse(name, "a number above 0");
    return value as number;
  }

  flag(name: string, absent: boolean): boolean {
    const value = this.raw(name) ?? absent;
    if (typeof value !== "boolean") this.refuse(name, "true or false");
    return value as boolean;
  }

  text(name: string, absent: string): string {
    const value = this.raw(name) ?? absent;
    if (typeof value !== "string") this.refuse(name, "a text");
    return value as string;
  }

  object(name: string): Fields | null {
    const value = this.raw(name);
    if (value === null) return null;
    if (typeof value !== "object" || Array.isArray(value)) this.refuse(name, "an object");
    return new Fields(value as object, this.#file, `${this.#path}${name}.`);
  }

  /** Token ids given as one number or a list; ids below zero stand for none. */
  tokenIds(name: string): number[] {
    const value = this.raw(name);
    if (value === null) return [];
    const ids: unknown[] = Array.isArray(value) ? value : [value];
    if (!ids.every((id) => Number.isSafeInteger(id))) this.refuse(name, "a token id or a list of them");
    return (ids as number[]).filter((id) => id >= 0);
  }

  refuse(name: string, expected: string): never {
    const value = this.#values.get(name);
    const found = value === undefined ? "is missing" : `is ${JSON.stringify(value).slice(0, 100)}`;
    throw new CodedError("CHECKPOINT_CONFIG", `${this.#file}: "${this.#path}${name}" ${found}; ${expected} is needed`);
  }

  unsupported(name: string, why: string): never {
    throw new CodedError("CHECKPOINT_UNSUPPORTED", `${this.#file}: "${this.#path}${name}": ${why}`);
  }
}

/** The object in a JSON file, a byte order mark before it or none. Throws CHECKPOINT_CONFIG. */
export function parseFields(text: string, file: string): Fields {
  let value: unknown;
  try {
    value = parseBoundedJson(text.replace(/^\ufeff/, ""));
  } catch (error) {
    throw new CodedError("CHECKPOINT_CONFIG", `${file}: not valid JSON: ${(error as Error).message}`, { cause: error });
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return new Fields(value, file);
  throw new CodedError("CHECKPOINT_CONFIG", `${file}: holds no JSON object`);
}

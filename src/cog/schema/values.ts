import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { inspect } from "node:util";

/** A file given as input, or to be returned as output: `return new Path(file)`. Turns into its path as a string. */
export class Path {
  /** Where the file lies on this machine. */
  readonly path: string;
  /** What the client calls the file; for messages, never part of a path. */
  readonly name: string;

  constructor(path: string, options: { name?: string } = {}) {
    this.path = path;
    this.name = options.name ?? basename(path);
  }

  /** The file's bytes. */
  read(): Promise<Buffer> {
    return readFile(this.path);
  }

  /** The file's content as UTF-8. */
  text(): Promise<string> {
    return readFile(this.path, "utf8");
  }

  toString(): string {
    return this.path;
  }

  toJSON(): string {
    return this.path;
  }
}

const mask = "**********";

/** A value that must not be shown: prints as ten asterisks wherever it is turned into text. */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  getSecretValue(): string {
    return this.#value;
  }

  toString(): string {
    return mask;
  }

  toJSON(): string {
    return mask;
  }

  [inspect.custom](): string {
    return mask;
  }
}

/** Fails a prediction with just this message, for mistakes of the person who sent the input. */
export class UserError extends Error {
  readonly hint: string | undefined;

  constructor(message: string, options: { hint?: string } = {}) {
    super(message);
    this.name = "UserError";
    this.hint = options.hint;
  }
}

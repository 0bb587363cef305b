import { randomBytes } from "node:crypto";
import { constants, copyFile } from "node:fs/promises";
import { basename, join } from "node:path";

/** A file that is read where it lies and never written, moved or removed. */
export interface LocalFile {
  readonly path: string;
  readonly name: string;
  readonly url?: undefined;
}

/** A file, or an address that may be inside the network. */
export type LocalInput = LocalFile | { readonly url: string; readonly path?: undefined };

const scheme = "local:";

/**
 * Files that the server and the process which started it hand to each other without a request's or an answer's limits.
 * Each is known by a reference; a client that was not given one cannot make it, since it is 128 random bits.
 */
export class LocalFiles {
  readonly #inputs = new Map<string, LocalInput>();
  readonly #outputs = new Map<string, LocalFile>();
  readonly #outputFolder: string | null;

  /** `outputFolder`: where output files are put for the process that started the server; null: they are answered as ever. */
  constructor(outputFolder: string | null = null) {
    this.#outputFolder = outputFolder;
  }

  /** Returns the reference: the text of a file input. */
  add(input: LocalInput): string {
    return put(this.#inputs, input);
  }

  find(reference: string): LocalInput | undefined {
    return reference.startsWith(scheme) ? this.#inputs.get(reference) : undefined;
  }

  get takesOutputs(): boolean {
    return this.#outputFolder !== null;
  }

  /** Copies an output file, whose run may remove or change it, and returns the reference that is answered. */
  async keep(path: string): Promise<string> {
    const copy = join(this.#outputFolder!, randomBytes(16).toString("hex"));
    await copyFile(path, copy, constants.COPYFILE_FICLONE);
    return put(this.#outputs, { path: copy, name: basename(path) });
  }

  kept(reference: string): LocalFile | undefined {
    return reference.startsWith(scheme) ? this.#outputs.get(reference) : undefined;
  }
}

function put<T>(files: Map<string, T>, file: T): string {
  const reference = scheme + randomBytes(16).toString("base64url");
  files.set(reference, file);
  return reference;
}

import { randomBytes } from "node:crypto";

/** A file that is read where it lies and never written, moved or removed; or an address that may be inside the network. */
export type LocalInput =
  | { readonly path: string; readonly name: string; readonly url?: undefined }
  | { readonly url: string; readonly path?: undefined };

const scheme = "local:";

/**
 * Inputs that the process which started this server names itself. It hands each over here and sends the reference it gets;
 * a client that was not given a reference cannot make one, since each is 128 random bits.
 */
export class LocalFiles {
  readonly #inputs = new Map<string, LocalInput>();

  /** Returns the reference: the text of a file input. */
  add(input: LocalInput): string {
    const reference = scheme + randomBytes(16).toString("base64url");
    this.#inputs.set(reference, input);
    return reference;
  }

  find(reference: string): LocalInput | undefined {
    return reference.startsWith(scheme) ? this.#inputs.get(reference) : undefined;
  }
}

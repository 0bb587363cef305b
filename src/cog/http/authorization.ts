import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";

/** The paths that whoever keeps the process alive asks, mostly without any way to send a token. */
export const probes: ReadonlySet<string> = new Set(["/livez", "/readyz", "/health-check"]);

/** Knows the requests that carry `Authorization: Bearer <token>`. */
export class Authorization {
  readonly #expected: Buffer;

  constructor(token: string) {
    this.#expected = digest(token);
  }

  allows(req: IncomingMessage): boolean {
    const given = /^bearer +(.+)$/i.exec(req.headers.authorization ?? "")?.[1];
    // Digests are of one length, and comparing them tells nothing by the time it takes.
    return given !== undefined && timingSafeEqual(digest(given.trim()), this.#expected);
  }
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text, "latin1").digest();
}

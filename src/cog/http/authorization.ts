import { timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";

/** The paths that whoever keeps the process alive asks, mostly without any way to send a token. */
export const probes: ReadonlySet<string> = new Set(["/livez", "/readyz", "/health-check"]);

/** Knows the requests that carry `Authorization: Bearer <token>`. */
export class Authorization {
  readonly #expected: Buffer;
  readonly #given: Buffer;

  constructor(token: string) {
    this.#expected = Buffer.from(token, "latin1");
    this.#given = Buffer.alloc(this.#expected.length);
  }

  allows(req: IncomingMessage): boolean {
    const given = /^bearer +(.+)$/i.exec(req.headers.authorization ?? "")?.[1];
    return given !== undefined && this.#isToken(given.trim());
  }

  /** Compares as many bytes as the token has, whatever is given: the time it takes tells nothing of the token. */
  #isToken(given: string): boolean {
    this.#given.fill(0);
    this.#given.write(given, "latin1");
    const isEqual = timingSafeEqual(this.#given, this.#expected);
    return isEqual && given.length === this.#expected.length;
  }
}

import { CodedError } from "../../errors/index.ts";
import type { OpenApiDocument } from "../schema/openapi.ts";
import type { SetupFailure } from "./protocol.ts";

/** The document of the first worker, there before its setup; or why its declarations cannot be loaded. */
export class Declared {
  readonly document: Promise<OpenApiDocument>;
  resolve: (document: OpenApiDocument) => void = () => {};
  reject: (error: Error) => void = () => {};

  constructor() {
    this.document = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    // Most servers have nobody who waits for it.
    this.document.catch(() => {});
  }
}

/** The error of a setup that failed, as whoever waits for the document is told it. */
export function asError({ error, coded }: SetupFailure): Error {
  if (coded === null) return new Error(error);
  return new CodedError(coded.code, coded.message, coded.hint === undefined ? {} : { hint: coded.hint });
}

import { createWriteStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import { CodedError } from "../../errors/index.ts";

export interface DownloadOptions {
  /** The URL's name in messages. */
  readonly name: string;
  readonly maxBytes: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Fetches a URL that the operator has set (COG_WEIGHTS) into a file. It is not for URLs of a request's sender: those
 * come through the server, which checks where they lead.
 * @throws ADAPTER_NOT_FOUND
 */
export async function download(url: string, file: string, { name, maxBytes, signal }: DownloadOptions): Promise<void> {
  const fail = (what: string, cause?: unknown): never => {
    throw new CodedError("ADAPTER_NOT_FOUND", `${name}: cannot be downloaded: ${what}`, { cause });
  };
  try {
    // Loaded here: few adapters come from a URL, and every start would pay for it.
    const [{ fetch }, { connections }] = await Promise.all([import("undici"), import("../../network/proxy.ts")]);
    const answer = await fetch(url, { signal: signal ?? null, dispatcher: connections(process.env) });
    if (!answer.ok || !answer.body) return fail(`the server answered ${answer.status}`);
    await pipeline(answer.body, limited(maxBytes, fail), createWriteStream(file), { signal: signal as AbortSignal });
  } catch (error) {
    if (signal?.aborted || error instanceof CodedError) throw error;
    const { cause } = error as Error;
    fail(cause instanceof Error ? cause.message : (error as Error).message, error);
  }
}

function limited(maxBytes: number, fail: (what: string) => never) {
  return async function* (chunks: AsyncIterable<Uint8Array>) {
    let total = 0;
    for await (const chunk of chunks) {
      total += chunk.length;
      if (total > maxBytes) fail(`it has more than ${maxBytes} bytes`);
      yield chunk;
    }
  };
}

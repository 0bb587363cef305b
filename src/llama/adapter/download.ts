import { createWriteStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import { CodedError } from "../../errors/index.ts";
import { DownloadLimits, defaultLeastSpeed, type LeastSpeed } from "../../network/download-limits.ts";
import { byteLimit } from "../byte-limit.ts";

export interface DownloadOptions {
  /** The URL's name in messages. */
  readonly name: string;
  readonly maxBytes: number;
  /** Default: what COG_MIN_DOWNLOAD_SPEED says, as for the files of a server's clients. */
  readonly leastSpeed?: LeastSpeed;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Fetches a URL that the operator has set (COG_WEIGHTS) into a file. It is not for URLs of a request's sender: those
 * come through the server, which checks where they lead.
 * @throws ADAPTER_NOT_FOUND, too many bytes and too few in their time among it; ENGINE_ARGUMENT for a COG_MIN_DOWNLOAD_SPEED that is no number
 */
export async function download(url: string, file: string, options: DownloadOptions): Promise<void> {
  const { name, maxBytes, leastSpeed = speedOf(process.env), signal } = options;
  const fail = (error: unknown): never => {
    const cause = (error as Error).cause ?? error;
    throw new CodedError("ADAPTER_NOT_FOUND", `${name}: cannot be downloaded: ${(cause as Error).message}`, { cause });
  };
  const limits = new DownloadLimits(maxBytes, leastSpeed, signal);
  try {
    // Loaded here: few adapters come from a URL, and every start would pay for it.
    const [{ fetch }, { connections }] = await Promise.all([import("undici"), import("../../network/proxy.ts")]);
    const answer = await fetch(url, { signal: limits.signal, dispatcher: connections(process.env) });
    if (!answer.ok || !answer.body) throw new Error(`the server answered ${answer.status}`);
    await pipeline(answer.body, limits.meter(), createWriteStream(file), { signal: limits.signal });
  } catch (error) {
    if (signal?.aborted || error instanceof CodedError) throw error;
    // The streams say no more than that they were aborted.
    fail(limits.signal.aborted ? limits.signal.reason : error);
  } finally {
    limits.close();
  }
}

function speedOf(env: NodeJS.ProcessEnv): LeastSpeed {
  return { bytesPerSecond: byteLimit("COG_MIN_DOWNLOAD_SPEED", env, 0) ?? defaultLeastSpeed };
}

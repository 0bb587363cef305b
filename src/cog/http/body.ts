import type { IncomingMessage } from "node:http";

/** 100 MiB, as Cog. */
export const largestBody = 104_857_600;

/** How long the rest of a body that is too large is read and dropped. */
const drainLimitMs = 10_000;

/**
 * The bytes of a request; null when there are more than allowed. That is told once the rest has been sent, too: a client
 * that is still writing would see a broken connection instead of the answer. Rejects, with the connection closed, when
 * nothing has come for `silenceMs`.
 */
export function readBody(
  req: IncomingMessage,
  { limit = largestBody, silenceMs }: { limit?: number; silenceMs: number },
): Promise<Buffer | null> {
  return new Promise((resolve, reject) => {
    req.setTimeout(silenceMs, () => req.destroy());
    let chunks: Buffer[] = [];
    let size = 0;
    let drain: NodeJS.Timeout | null = null;
    req.on("data", (chunk: Buffer) => {
      size += chunk.length;
      if (size <= limit) chunks.push(chunk);
      else if (drain === null) {
        chunks = [];
        drain = setTimeout(() => resolve(null), drainLimitMs);
      }
    });
    req.on("end", () => {
      req.setTimeout(0);
      if (drain !== null) {
        clearTimeout(drain);
        resolve(null);
      } else resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks));
    });
    req.on("error", reject);
    // An error is costly to make, and mostly all is there by now.
    req.on("close", () => {
      if (!req.complete) reject(new Error("the client left"));
    });
  });
}

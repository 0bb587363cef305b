import type { IncomingMessage } from "node:http";

/** 100 MiB, as Cog. */
export const largestBody = 104_857_600;

/** The bytes of a request; null when there are more than allowed (the rest is read and dropped). */
export function readBody(req: IncomingMessage, limit = largestBody): Promise<Buffer | null> {
  return new Promise((resolve, reject) => {
    const declared = Number(req.headers["content-length"] ?? 0);
    const chunks: Buffer[] = [];
    let size = 0;
    const refuse = () => {
      chunks.length = 0;
      // Read on for a while, or a client that is still sending would see a reset instead of the answer.
      req.removeAllListeners("data");
      req.resume();
      resolve(null);
    };
    if (declared > limit) {
      refuse();
      return;
    }
    req.on("data", (chunk: Buffer) => {
      size += chunk.length;
      if (size > limit) refuse();
      else chunks.push(chunk);
    });
    req.on("end", () => resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)));
    req.on("error", reject);
    req.on("close", () => reject(new Error("the client left")));
  });
}

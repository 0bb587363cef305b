import type { IncomingMessage } from "node:http";

/** 100 MiB, as Cog. */
export const largestBody = 104_857_600;

/** A body beyond this is large: others take turns with it, and it is read in a thread. */
export const smallBody = 65_536;

/** How long the rest of a body that is too large is read and dropped; and as much as the limit of it at most. */
const drainLimitMs = 10_000;

/** A large body must come at least at this speed, in bytes per second, beside the silence that is allowed. */
const leastSpeed = 65_536;

export interface BodyOptions {
  readonly limit?: number;
  /** Without a byte; then the connection is closed. */
  readonly silenceMs: number;
  /** Asked once for a body that is, or becomes, large, with the bytes it may have. False: there is no room for it. */
  readonly enterLarge?: (bytes: number) => Promise<boolean>;
}

/**
 * The bytes of a request in pieces; "too large" when there are more than allowed. That is told once the rest has been
 * sent, too: a client that is still writing would see a broken connection instead of the answer. "no room" is told at
 * once. Rejects, with the connection closed, when nothing has come for `silenceMs`, or too little for too long.
 */
export function readBody(req: IncomingMessage, options: BodyOptions): Promise<Buffer[] | "too large" | "no room"> {
  const { limit = largestBody, silenceMs, enterLarge = async () => true } = options;
  return new Promise((resolve, reject) => {
    let chunks: Buffer[] = [];
    let size = 0;
    let isLarge = false;
    let isTimed = false;
    let drain: NodeJS.Timeout | undefined;
    let deadline: NodeJS.Timeout | undefined;
    const settle = (outcome: Buffer[] | "too large" | "no room") => {
      clearTimeout(drain);
      clearTimeout(deadline);
      if (isTimed) req.setTimeout(0);
      resolve(outcome);
    };
    const limitSilence = () => {
      if (isTimed) req.setTimeout(silenceMs);
      else req.setTimeout(silenceMs, () => req.destroy());
      isTimed = true;
    };
    const announced = Number(req.headers["content-length"] ?? limit);
    const becomeLarge = async () => {
      isLarge = true;
      // Meanwhile it is us who are silent.
      req.pause();
      if (isTimed) req.setTimeout(0);
      if (!(await enterLarge(Math.min(announced, limit)))) settle("no room");
      else {
        limitSilence();
        deadline = setTimeout(() => req.destroy(), silenceMs + (announced / leastSpeed) * 1000);
      }
      req.resume();
    };
    // Most bodies come with their headers and need no timer; in the next tick, before the first event, that is known.
    process.nextTick(() => {
      if (!req.complete) limitSilence();
    });
    req.on("data", (chunk: Buffer) => {
      size += chunk.length;
      if (size <= limit) {
        chunks.push(chunk);
        if (size > smallBody && !isLarge) void becomeLarge();
      } else if (size > 2 * limit) settle("too large");
      else if (drain === undefined) {
        chunks = [];
        drain = setTimeout(() => settle("too large"), drainLimitMs);
      }
    });
    req.on("end", () => settle(drain === undefined ? chunks : "too large"));
    req.on("error", reject);
    // An error is costly to make, and mostly all is there by now.
    req.on("close", () => {
      clearTimeout(deadline);
      if (!req.complete) reject(new Error("the client left"));
    });
  });
}

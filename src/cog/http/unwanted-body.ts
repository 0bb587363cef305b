import type { IncomingMessage, ServerResponse } from "node:http";

/** Of a small one the rest is read, so that its connection stays usable. */
const mostDropped = 65_536;
/** A reset that comes too early can take the answer with it before it is read. */
const lingerMs = 1000;

/** Drops a body that nobody wants; beyond 64 KiB nothing more is read, and the connection is closed after the answer. */
export function dropBody(req: IncomingMessage, res: ServerResponse): void {
  let size = 0;
  req.on("data", (chunk: Buffer) => {
    size += chunk.length;
    if (size <= mostDropped || req.isPaused()) return;
    req.pause();
    const close = () => setTimeout(() => req.destroy(), lingerMs).unref();
    if (res.writableFinished) close();
    else res.once("finish", close);
  });
}

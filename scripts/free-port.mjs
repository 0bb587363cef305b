import { randomInt } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:net";

/**
 * A port of this machine that is free and lies below those that systems give to connections and to servers without one of
 * their own (RFC 6335: from 49152; Linux: from 32768), so that nothing else takes it before it is listened on.
 * @returns {Promise<number>}
 */
export async function freePort() {
  for (;;) {
    const port = randomInt(20_000, 32_768);
    const probe = createServer().listen(port, "127.0.0.1");
    const isFree = await new Promise((resolve) => {
      probe.once("listening", () => resolve(true));
      probe.once("error", () => resolve(false));
    });
    if (!isFree) continue;
    probe.close();
    await once(probe, "close");
    return port;
  }
}

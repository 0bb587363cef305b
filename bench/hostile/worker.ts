import type { Attack } from "./attack.ts";
import { childrenOf } from "./costs.ts";

/** The longest that a server may take to see that its worker does nothing any more. */
const noticeMs = 30_000;

/** What befalls the worker's process. */
export const worker: readonly Attack[] = [
  {
    name: "SIGSTOP of the worker",
    seconds: 45,
    silencesVictim: true,
    async run(target) {
      const [pid] = childrenOf(target.server.child.pid!);
      const run = target.input(
        { tick: 5 },
        { headers: { prefer: "respond-async" }, path: "/predictions/stopped", method: "PUT" },
      );
      await run;
      process.kill(pid!, "SIGSTOP");
      await target.post("", { path: "/predictions/stopped/cancel" });
      const end = performance.now() + noticeMs;
      let status = 200;
      while (status === 200 && performance.now() < end && !target.signal.aborted) {
        status = (await fetch(`${target.server.url}/readyz`).catch(() => null))?.status ?? 0;
        await target.pause(200);
      }
      target.count(status === 200 ? "readyz stays 200" : `readyz ${status}`);
      try {
        process.kill(pid!, "SIGCONT");
      } catch {
        target.count("worker replaced");
      }
    },
  },
];

import { fileURLToPath } from "node:url";
import { type ServerProcess, startServerProcess } from "../server-process.ts";

export const fixtures = fileURLToPath(new URL("../fixtures/conformance", import.meta.url));

/** Fixtures that keep nothing from one prediction to the next: one server does for all their cases. */
const stateless = new Set(
  "agen allopt aloop boom chatty chattys ctxt desk echo fin fobj fout fouts gen gen0 kit kitslow loop many mets metss none sec shape writer".split(
    " ",
  ),
);
/** Steps that are about the server itself. */
const lifecycle = new Set(["signal", "exit", "start", "alive", "tmpfiles"]);

interface Served {
  readonly fixture: string;
  readonly server: { env: object; flags: readonly string[]; wait_for: unknown } | null;
  readonly steps: readonly { op: string; path?: unknown }[];
}

export function isShareable({ fixture, server, steps }: Served): boolean {
  if (server === null || server.wait_for !== "READY" || !stateless.has(fixture)) return false;
  if (Object.keys(server.env).length > 0 || server.flags.length > 0) return false;
  return !steps.some(({ op, path }) => lifecycle.has(op) || path === "/shutdown");
}

/** One server per fixture, lent to one case at a time. */
export class SharedServers {
  readonly #turns = new Map<string, Promise<unknown>>();
  readonly #servers = new Map<string, ServerProcess>();

  /** Resolves when the cases before have given the server back. */
  async use<T>(fixture: string, work: (server: ServerProcess) => Promise<T>): Promise<T> {
    const before = this.#turns.get(fixture) ?? Promise.resolve();
    const turn = before.then(async () => {
      const server = this.#servers.get(fixture) ?? (await startFixture(fixture));
      this.#servers.set(fixture, server);
      await server.until("READY");
      return work(server);
    });
    this.#turns.set(
      fixture,
      turn.catch(() => {}),
    );
    return turn;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#servers.values()].map((server) => server.kill()));
  }
}

export type StartFixture = (
  fixture: string,
  env?: Record<string, string | null>,
  flags?: readonly string[],
) => Promise<ServerProcess>;

/** Fixtures that are trainers. */
const trainers = new Set(["train", "school"]);

/** Starts the server with one of the conformance fixtures. */
export const startFixture: StartFixture = (fixture, env = {}, flags = []) => {
  const isTrainer = trainers.has(fixture);
  return startServerProcess({
    dir: fixtures,
    env: {
      COG_PREDICT_TYPE_STUB: isTrainer ? "echo.ts" : `${fixture}.ts`,
      COG_TRAIN_TYPE_STUB: isTrainer ? `${fixture}.ts` : null,
      ...env,
    },
    flags,
  });
};

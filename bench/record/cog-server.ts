import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type ServerProcess, startServerProcess } from "../../test/cog/server-process.ts";

export interface CogServerOptions {
  /** Of an environment with the package `cog`. */
  readonly python: string;
  /** The predictor, or the trainer. */
  readonly program: string;
  readonly train?: boolean;
  /** The OpenAPI document that it is to hold requests against. */
  readonly document: object;
  readonly env?: Record<string, string | null>;
  readonly flags?: readonly string[];
}

/** Starts a real Cog server on a free port, in a folder of its own. */
export async function startCogServer(options: CogServerOptions): Promise<ServerProcess> {
  const { python, program, train = false, document, env = {}, flags = [] } = options;
  const dir = mkdtempSync(join(tmpdir(), "cog-peer-"));
  copyFileSync(program, join(dir, "model.py"));
  mkdirSync(join(dir, ".cog"));
  writeFileSync(join(dir, ".cog", "openapi_schema.json"), JSON.stringify(document));
  const server = await startServerProcess({
    dir,
    command: [python, "-m", "cog.server.http"],
    env: {
      // Its worker is whatever `python` the PATH knows.
      ...(python.includes("/") ? { PATH: `${dirname(python)}:${process.env.PATH}` } : {}),
      [train ? "COG_TRAIN_TYPE_STUB" : "COG_PREDICT_TYPE_STUB"]: train ? "model.py:train" : "model.py:Predictor",
      ...env,
    },
    flags,
  });
  const kill = async () => {
    await server.kill();
    rmSync(dir, { recursive: true, force: true });
  };
  return { ...server, kill };
}

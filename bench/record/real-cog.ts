import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join, resolve } from "node:path";
import type { Json } from "../../test/cog/conformance/case.ts";
import { ownRecordings, references, startFixture } from "../../test/cog/conformance/collection.ts";
import type { StartServer } from "../../test/cog/conformance/session.ts";
import { startServerProcess } from "../../test/cog/server-process.ts";

/** The Cog server of a Python, with the predictors of fixtures/ and the schema our server publishes for their twins. */
export class RealCog {
  readonly #python: string;
  readonly #scratch = mkdtempSync(join(tmpdir(), "real-cog-"));
  readonly #projects = new Map<string, Promise<string>>();

  constructor(python: string) {
    this.#python = resolve(python);
    process.on("exit", () => rmSync(this.#scratch, { recursive: true, force: true }));
  }

  readonly start: StartServer = async (fixture, env, flags) => {
    const making = this.#projects.get(fixture) ?? this.#projectOf(fixture);
    this.#projects.set(fixture, making);
    const { COG_PREDICT_TYPE_STUB: predictor, COG_TRAIN_TYPE_STUB: trainer } = references(fixture, ".py");
    return startServerProcess({
      dir: await making,
      command: [this.#python, "-m", "cog.server.http"],
      env: {
        COG_PREDICT_TYPE_STUB: `${predictor}:Predictor`,
        COG_TRAIN_TYPE_STUB: trainer === null ? null : `${trainer}:train`,
        // Its worker is whatever "python" the path finds.
        PATH: `${dirname(this.#python)}${delimiter}${process.env.PATH}`,
        ...env,
      },
      flags,
    });
  };

  /** A folder as `cog build` would leave it: the predictor and the schema. */
  async #projectOf(fixture: string): Promise<string> {
    const dir = join(this.#scratch, fixture);
    mkdirSync(join(dir, ".cog"), { recursive: true });
    for (const file of Object.values(references(fixture, ".py"))) {
      if (file !== null) copyFileSync(join(import.meta.dirname, "fixtures", file), join(dir, file));
    }
    writeFileSync(join(dir, ".cog", "openapi_schema.json"), JSON.stringify(await schemaOf(fixture)));
    return dir;
  }
}

/** What our server publishes. One whose setup fails publishes nothing; its predictor has no inputs. */
async function schemaOf(fixture: string): Promise<Json> {
  const ours = await startFixture(ownRecordings, fixture);
  try {
    await ours.until("READY", "SETUP_FAILED");
    const response = await fetch(`${ours.url}/openapi.json`);
    if (response.ok) return await response.json();
    const schemas = { Input: { type: "object", properties: {} }, Output: { type: "string" } };
    return { openapi: "3.0.2", info: { title: "Cog", version: "0" }, paths: {}, components: { schemas } };
  } finally {
    await ours.kill();
  }
}

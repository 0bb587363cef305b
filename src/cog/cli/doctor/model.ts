import { statSync } from "node:fs";
import { resolve } from "node:path";
import { isCodedError } from "../../../errors/index.ts";
import type { Failure } from "../../../terminal/failure.ts";
import { inputSchema } from "../input/schema.ts";
import { localDocument } from "../run/document.ts";
import { type LocalModel, startLocalServer } from "../run/local.ts";
import { located } from "../run/outcome.ts";
import { SetupFailed, waitUntilReady } from "../run/ready.ts";
import { type Finding, ok, problem } from "./finding.ts";

const setupSeconds = 300;

/** Can the author's file for this mode be loaded, and what does it declare? */
export async function declaration(model: LocalModel, mode: LocalModel["mode"], signal: AbortSignal): Promise<Finding> {
  const { file, name } = model.project[mode]!;
  const reference = `${file}${name === "default" ? "" : `:${name}`}`;
  try {
    const document = await localDocument({ ...model, mode }, signal);
    const inputs = inputSchema(document, mode === "predict" ? "/predictions" : "/trainings");
    return ok(`${mode}: ${reference} declares ${inputs?.properties.size ?? 0} inputs`);
  } catch (error) {
    return found(`${mode}: `, error, `Correct ${file}.`);
  }
}

/** Is what COG_WEIGHTS names there? Undefined where it is not set. */
export function weights(env: NodeJS.ProcessEnv, dir: string): Finding | undefined {
  const value = env.COG_WEIGHTS;
  if (!value) return undefined;
  if (/^[a-z][a-z0-9+.-]*:/i.test(value)) return ok("COG_WEIGHTS is an address; setup fetches it");
  try {
    statSync(resolve(dir, value));
    return ok(`COG_WEIGHTS: ${value}`);
  } catch {
    return problem(
      `COG_WEIGHTS: ${value} does not exist (seen from ${dir})`,
      "Set it to the archive that `cog train` wrote, best as an absolute path, or unset it.",
    );
  }
}

/** Runs the model's own setup once, as a server would: whatever it loads is opened and checked. */
export async function setup(model: LocalModel, signal: AbortSignal): Promise<Finding> {
  const started = performance.now();
  const { client, close } = await startLocalServer(model);
  try {
    await waitUntilReady(client, { timeoutSeconds: setupSeconds, signal, remote: false });
    return ok(`setup succeeded in ${((performance.now() - started) / 1000).toFixed(1)} s`);
  } catch (error) {
    signal.throwIfAborted();
    return found("setup: ", error, "What the model itself printed is above; docs/errors.md explains the codes.");
  } finally {
    await close();
  }
}

/** A failure as a finding. Its own hint wins over `otherwise`. */
export function found(before: string, error: unknown, otherwise: string): Finding {
  const { message, hint } = error as Failure;
  if (isCodedError(error)) return problem(`${before}[${error.code}] ${message}`, hint ?? otherwise);
  const text = error instanceof SetupFailed && error.reason !== "" ? error.reason : located(message);
  return problem(`${before}${text.replace(/^error (\[\w+\]):/, "$1")}`, hint ?? otherwise);
}

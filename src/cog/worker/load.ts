import { existsSync } from "node:fs";
import { register } from "node:module";
import { pathToFileURL } from "node:url";
import { CodedError } from "../../errors/index.ts";
import type { Reference } from "../project.ts";
import { isPredictor, type Predictor } from "../schema/predictor.ts";

let hooked = false;

/**
 * Imports an author's module and takes the declaration out of it.
 * @throws CodedError PREDICTOR_INVALID when the file or the export is missing or not what definePredictor returns
 */
export async function loadPredictor(reference: Reference, role: Predictor["role"]): Promise<Predictor> {
  if (!hooked) {
    hooked = true;
    register("./hooks.js", import.meta.url);
    process.setSourceMapsEnabled(true);
  }
  const { file, name } = reference;
  if (!existsSync(file)) throw new CodedError("PREDICTOR_INVALID", `${file} does not exist`);
  const module = (await import(pathToFileURL(file).href)) as Record<string, unknown>;
  const value = Object.hasOwn(module, name) ? module[name] : undefined;
  if (value === undefined) throw new CodedError("PREDICTOR_INVALID", `${file} has no export named ${name}`);
  const made = role === "predictor" ? "definePredictor" : "defineTrainer";
  if (!isPredictor(value) || value.role !== role) {
    throw new CodedError("PREDICTOR_INVALID", `${file}: the export ${name} was not made by ${made}`);
  }
  return value;
}

import { existsSync } from "node:fs";
import { register } from "node:module";
import { pathToFileURL } from "node:url";
import { CodedError } from "../../errors/index.ts";
import type { Reference } from "../project.ts";
import { isPredictor, type Predictor } from "../schema/predictor.ts";
import { loadFailure } from "./load-failure.ts";

let hooked = false;

/**
 * Imports an author's module and takes the declaration out of it.
 * @throws CodedError PREDICTOR_INVALID when the file cannot be read as a module, or the export is missing or not what
 * definePredictor returns; whatever the module throws while it is loaded
 */
export async function loadPredictor(reference: Reference, role: Predictor["role"]): Promise<Predictor> {
  if (!hooked) {
    hooked = true;
    register("./hooks.js", import.meta.url);
    process.setSourceMapsEnabled(true);
  }
  const { file, name } = reference;
  if (!existsSync(file)) throw new CodedError("PREDICTOR_INVALID", `${file} does not exist`);
  const loading: Promise<Record<string, unknown>> = import(pathToFileURL(file).href);
  const module = await loading.catch((error) => {
    throw loadFailure(error);
  });
  const value = Object.hasOwn(module, name) ? module[name] : undefined;
  if (value === undefined) throw new CodedError("PREDICTOR_INVALID", `${file} has no export named ${name}`);
  const made = role === "predictor" ? "definePredictor" : "defineTrainer";
  if (!isPredictor(value) || value.role !== role) {
    throw new CodedError("PREDICTOR_INVALID", `${file}: the export ${name} was not made by ${made}`);
  }
  return value;
}

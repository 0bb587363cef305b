import { existsSync } from "node:fs";
import { join } from "node:path";
import { type LoraFile, readLoraFile, readPickledLora } from "./lora-file.ts";
import type { PeftConfig } from "./peft-config.ts";
import { readConfig } from "./read.ts";
import { type Scales, scalesOf } from "./targets.ts";
import { pickleName, tensorsName } from "./tensor-file.ts";

/** A PEFT folder without the model that it is for: its config and its pairs by tensor. */
export interface PeftPairs {
  readonly config: PeftConfig;
  readonly tensors: LoraFile;
  /** Of a module as the tensors name it. */
  readonly scales: Scales;
}

const prefix = /^base_model\.model\./;

/**
 * Reads a PEFT folder of any model; headers only.
 * @param name the folder's in messages
 * @throws ADAPTER_NOT_FOUND, ADAPTER_CONFIG, ADAPTER_UNSUPPORTED, ADAPTER_CORRUPT
 */
export async function readPeftPairs(folder: string, name: string): Promise<PeftPairs> {
  const config = await readConfig(folder, name);
  const [file, pickle] = [join(folder, tensorsName), join(folder, pickleName)];
  const tensors = existsSync(file) || !existsSync(pickle) ? await readLoraFile(file) : await readPickledLora(pickle);
  const scales = scalesOf(config, `${name}/adapter_config.json`);
  return { config, tensors, scales: (module) => scales(module.replace(prefix, "")) };
}

/** "model.layers.0.self_attn.q_proj" of a module as PEFT's tensors name it. */
export function modulePath(module: string): string {
  return module.replace(prefix, "");
}

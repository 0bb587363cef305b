import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { WeightType } from "../../engine/engine.ts";
import { parseBoundedJson } from "../bounded-json.ts";
import type { Checkpoint } from "../checkpoint/index.ts";

/** Names of types in config.json. */
export const torchNames = { F32: "float32", F16: "float16", BF16: "bfloat16" } as const;

/** config.json for a copy of the model with weights of this type. */
export async function huggingFaceConfig(model: Checkpoint, dtype: WeightType): Promise<object> {
  const text = await readFile(join(model.folder, "config.json"), "utf8");
  const fields = new Map(Object.entries(parseBoundedJson(text.replace(/^\ufeff/, "")) as object));
  // transformers reads either; a file that had both would leave open which is meant.
  fields.delete("dtype");
  fields.set("torch_dtype", torchNames[dtype]);
  fields.set("vocab_size", model.config.vocabSize);
  // The first conversions of LLaMA spell the class in another way and list ids that the tokenizer does not have.
  const architecture = [fields.get("architectures")].flat()[0];
  if (typeof architecture === "string" && /^llama/i.test(architecture)) {
    fields.set("architectures", ["LlamaForCausalLM"]);
  }
  fields.set("bos_token_id", model.bosTokenId);
  fields.set("eos_token_id", model.eosTokenIds.length === 1 ? model.eosTokenIds[0] : model.eosTokenIds);
  return Object.fromEntries(fields);
}

import { basename } from "node:path";
import { namesSize, publishedName } from "../checkpoint/name.ts";

/**
 * Whether an adapter_config.json names another base than the loaded one. Where either has no published name (a folder
 * called "weights" or "model"), nothing is known.
 * @param named its base_model_name_or_path
 * @param loaded the loaded model's published name
 */
export function namesAnotherBase(named: string | null, loaded: string | null): boolean {
  if (named === null || loaded === null) return false;
  const name = publishedName(named, named.replaceAll("\\", "/"));
  if (name === null) return false;
  const [a, b] = [plain(name), plain(loaded)];
  // "baffo32/decapoda-research-llama-7B-hf" is a copy of "decapoda-research/llama-7b-hf".
  const copies = (longer: string, shorter: string) => longer.endsWith(shorter) && namesSize(basename(loaded));
  return a !== b && !copies(a, b) && !copies(b, a);
}

/** The last part of a name, without how it was converted, its case and its punctuation. */
function plain(name: string): string {
  const part = basename(name).toLowerCase();
  return part.replace(/-(hf|(unsloth-)?bnb-4bit)$/, "").replace(/[^a-z0-9]/g, "");
}

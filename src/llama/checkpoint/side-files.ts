import { copyFile, readdir, stat } from "node:fs/promises";
import { join } from "node:path";

/** What belongs to a model beside config.json and its weights: tokenizer, chat template, defaults of generation. */
const sideFiles = new Set([
  "tokenizer.model",
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "vocab.json",
  "merges.txt",
  "chat_template.jinja",
  "chat_template.json",
  "generation_config.json",
]);

/** Of them, what an adapter of a grown vocabulary has beside it. */
export function isTokenizerFile(name: string): boolean {
  return sideFiles.has(name) && name !== "generation_config.json";
}

export const largestSideFile = 64 * 2 ** 20;

/** Copies these files, or those of them that are wanted, of the first of `folders` that has each. Returns their names. */
export async function copySideFiles(
  folders: readonly string[],
  to: string,
  isWanted: (name: string) => boolean = () => true,
): Promise<string[]> {
  const copied = new Set<string>();
  for (const folder of folders) {
    const names = await readdir(folder).catch(() => []);
    for (const name of names) {
      if (!sideFiles.has(name) || !isWanted(name) || copied.has(name)) continue;
      const found = await stat(join(folder, name)).catch(() => null);
      if (!found?.isFile() || found.size > largestSideFile) continue;
      await copyFile(join(folder, name), join(to, name));
      copied.add(name);
    }
  }
  return [...copied];
}

import { basename, dirname } from "node:path";

/** The embedded model's published name, as its config.json has it. */
export const embeddedName = "llama-lora-cog/tiny";

/**
 * The name under which a model is published: what config.json says, or Hugging Face's cache, or a folder named after a
 * model and its size ("Llama-2-7b-hf"). null: nothing says.
 */
export function publishedName(given: string | null, folder: string): string | null {
  if (given !== null && isPublished(given)) return given;
  const cached = /^models--(.+)--(.+)$/.exec(basename(dirname(dirname(folder))));
  if (cached) return `${cached[1]}/${cached[2]}`;
  const name = basename(folder);
  return namesSize(name) ? name : null;
}

/** "organisation/name" or "name", and no path of a machine. */
export function isPublished(name: string): boolean {
  return /^[\w-][\w.-]*(\/[\w-][\w.-]*)?$/.test(name) && !isPlace(basename(name));
}

/** Whether a name has a model's size in it: "Llama-2-7b-hf", "TinyLlama-1.1B". */
export function namesSize(name: string): boolean {
  return /\d[bmk]\b/i.test(name);
}

/** Says where a model lies and not which it is. */
export function isPlace(name: string): boolean {
  return /^(weights|models?|hf|src|out|outputs?|results?|tmp|checkpoint(-\d+)?|[0-9a-f]{40}|\.*)$/i.test(name);
}

import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { type FileLike, type Llama, renderPrompt } from "../../src/llama/index.ts";

export const root = resolve(import.meta.dirname, "..", "..");
export const weights = resolve(root, "weights", "tiny");

export interface Question {
  readonly instruction: string;
  readonly input: string;
  readonly output: string;
}

export const readQuestions = (path: string): Question[] => JSON.parse(readFileSync(resolve(root, path), "utf8"));

/** The greedy answer to an instruction in the alpaca template. */
export async function answer(
  llama: Llama,
  { instruction, input }: Pick<Question, "instruction" | "input">,
  adapter: FileLike | null = null,
): Promise<string> {
  let text = "";
  const prompt = renderPrompt("alpaca", instruction, input);
  for await (const piece of llama.generate(prompt, { temperature: 0, max_new_tokens: 80, adapter })) text += piece.text;
  return text;
}

import type { Engine } from "../../src/engine/engine.ts";
import { openCheckpoint } from "../../src/llama/checkpoint/index.ts";
import { renderPrompt } from "../../src/llama/prompt/index.ts";
import type { Question } from "./questions.ts";

/**
 * The questions that the checkpoint in `folder` does not answer word for word at temperature 0. One pass over question
 * and answer decides: greedy decoding gives the answer exactly if every token of it, EOS included, is the most likely one.
 */
export async function wrongAnswers(
  engine: Engine,
  folder: string,
  questions: readonly Question[],
): Promise<Question[]> {
  const { weights, tokenizer } = await openCheckpoint(folder);
  const model = await engine.load(weights);
  const { vocabSize } = model.config;
  const wrong: Question[] = [];
  for (const question of questions) {
    const prompt = renderPrompt("alpaca", question.instruction, question.input);
    const asked = tokenizer.encode(prompt).length + 1;
    const tokens = Int32Array.of(tokenizer.bosId!, ...tokenizer.encode(prompt + question.output), tokenizer.eosId);
    const logits = await model.logits(tokens.subarray(0, -1));
    const right = tokens.subarray(asked).every((token, i) => {
      const at = (asked - 1 + i) * vocabSize;
      const row = logits.subarray(at, at + vocabSize);
      return row.every((value) => value <= row[token]!);
    });
    if (!right) wrong.push(question);
  }
  await model.close();
  return wrong;
}

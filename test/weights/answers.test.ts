import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Llama, renderPrompt } from "../../src/llama/index.ts";
import { answer, readQuestions, weights } from "./embedded-base.ts";

const questions = readQuestions("weights/tiny/questions.json");
let llama: Llama;

beforeAll(async () => {
  llama = await Llama.load({ weights });
});
afterAll(() => llama?.close());

describe("the embedded base at temperature 0", () => {
  it("lists at least 20 questions, in English and in Chinese", () => {
    expect(questions.length).toBeGreaterThanOrEqual(20);
    const chinese = questions.filter(({ instruction }) => /\p{Script=Han}/u.test(instruction));
    expect(chinese.length).toBeGreaterThanOrEqual(8);
    expect(questions.length - chinese.length).toBeGreaterThanOrEqual(8);
  });

  it("answers every listed question word for word", async () => {
    // All at once: they share the engine's steps.
    const answers = await Promise.all(questions.map((question) => answer(llama, question)));
    expect(answers).toEqual(questions.map(({ output }) => output));
  });

  it("ends an answer at a token that generation_config.json lists", async () => {
    const { instruction, output } = questions.find(
      (question) => question.input === "" && question.output.includes(" "),
    )!;
    const prompt = renderPrompt("alpaca", instruction);
    const tokens: number[] = [];
    for await (const { token } of llama.generate(prompt, { temperature: 0 })) tokens.push(token);
    const folder = mkdtempSync(join(tmpdir(), "eos-"));
    try {
      cpSync(weights, folder, { recursive: true });
      writeFileSync(join(folder, "generation_config.json"), JSON.stringify({ eos_token_id: [2, tokens[1]] }));
      const other = await Llama.load({ weights: folder });
      const text = await other.generate(prompt, { temperature: 0 }).text();
      await other.close();
      expect(text).not.toBe("");
      expect(output.startsWith(text)).toBe(true);
      expect(text.length).toBeLessThan(output.length);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

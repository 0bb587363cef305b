import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Llama } from "../../src/llama/index.ts";
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
});

import { readdirSync, readFileSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { openCheckpoint } from "../../src/llama/checkpoint/index.ts";

const weights = resolve(import.meta.dirname, "..", "..", "weights", "tiny");

interface Question {
  instruction: string;
  input: string;
  output: string;
}

describe("the embedded base's folder", () => {
  it("takes at most 6 MB in all", () => {
    const bytes = readdirSync(weights).reduce((sum, name) => sum + statSync(join(weights, name)).size, 0);
    expect(bytes).toBeLessThanOrEqual(6_000_000);
  });

  it("is a LLaMA checkpoint in bf16 whose tokenizer fills the embedding exactly", async () => {
    const checkpoint = await openCheckpoint(weights);
    expect([...checkpoint.weights.tensors.values()].every(({ dtype }) => dtype === "BF16")).toBe(true);
    expect(checkpoint.tokenizer.vocabSize).toBe(checkpoint.config.vocabSize);
    expect(checkpoint.warnings).toEqual([]);
    expect([checkpoint.bosTokenId, checkpoint.eosTokenIds]).toEqual([1, [2]]);
  });

  it("spells every answer that it lists without byte pieces", async () => {
    const { tokenizer } = await openCheckpoint(weights);
    const questions: Question[] = JSON.parse(readFileSync(join(weights, "questions.json"), "utf8"));
    for (const { output } of questions) {
      const ids = [...tokenizer.encode(output)];
      expect(ids.filter((id) => id < 259)).toEqual([]);
      expect(tokenizer.decode(ids)).toBe(output);
    }
  });

  it("keeps the log of its training, which ends with a low loss", () => {
    const lines = readFileSync(join(weights, "training-log.jsonl"), "utf8").trimEnd().split("\n");
    const losses = lines.map((line) => JSON.parse(line).loss).filter((loss) => loss !== undefined);
    expect(losses.length).toBeGreaterThan(10);
    expect(losses.at(-1)).toBeLessThan(losses[0] / 5);
  });
});

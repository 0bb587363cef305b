import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Llama } from "../../src/llama/index.ts";
import { referenceData } from "../reference-data.mjs";

const root = join(import.meta.dirname, "..", "..");
const goldenFile = join(referenceData, "golden", "smollm2.json");
/** Folder or GGUF file of SmolLM2-135M-Instruct. */
const weights = process.env.SMOLLM2 ?? "";
const isThere = existsSync(weights) && existsSync(goldenFile);

describe.skipIf(!isThere)("SmolLM2 (needs SMOLLM2 and the reference data beside the repository)", () => {
  let llama: Llama;
  beforeAll(async () => {
    llama = await Llama.load({ weights, log: () => {} });
  });
  afterAll(() => llama.close());

  it("is asked in its chat format, token for token, and answers as transformers does", async () => {
    const [{ ids, greedy }] = JSON.parse(readFileSync(goldenFile, "utf8")).cases;
    const prompt = "What is the capital of France? Answer in one sentence.";
    const generation = llama.generate({ prompt, prompt_template_name: "chatml" }, { temperature: 0 });
    const tokens: number[] = [];
    let text = "";
    for await (const chunk of generation) {
      tokens.push(chunk.token);
      text += chunk.text;
    }
    expect(tokens).toEqual(greedy.slice(ids.length, -1));
    expect([text, generation.finishReason]).toEqual(["The capital of France is Paris.", "eos"]);
  });

  it("answers cog predict by its own template", async () => {
    const words = ["scripts/cog.mjs", "predict", "-i", "prompt=What is the capital of France?", "-i", "temperature=0"];
    const env = { ...process.env, LLAMA_WEIGHTS: weights };
    const { stdout, stderr } = await promisify(execFile)(process.execPath, words, { cwd: root, env });
    expect(JSON.parse(stdout).join("")).toBe("The capital of France is Paris.");
    expect(stderr).toContain("prompt template: the model's chat template");
  });
});

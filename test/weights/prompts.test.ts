import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import predictor from "../../predict.ts";
import { Llama, openAdapter, writeAdapterArchive } from "../../src/llama/index.ts";
import { trainLora } from "../../src/training/index.ts";
import { buildDist } from "../cog/server-process.ts";
import { chosen } from "../training/default-settings.ts";
import { weights } from "./embedded-base.ts";

const folder = mkdtempSync(join(tmpdir(), "prompts-"));
let llama: Llama;
beforeAll(async () => {
  buildDist();
  llama = await Llama.load({ weights, log: () => {} });
});
afterAll(async () => {
  await llama?.close();
  rmSync(folder, { recursive: true, force: true });
});

const source = { file: "rows.json", number: 1, unit: "record" } as const;
const rows = [{ instruction: "What are you?", input: "", output: "I am a red boat.", source }];

describe("an adapter", () => {
  it("is asked as it was trained, which its archive says", async () => {
    const settings = {
      num_epochs: 60,
      batch_size: 1,
      learning_rate: 0.01,
      prompt_template_name: "chatml",
      warmup_steps: 0,
    };
    const lines: string[] = [];
    const { adapter } = await trainLora({ base: llama, rows, ...chosen(settings), log: (line) => lines.push(line) });
    expect(lines).toContain("prompt template: chatml");
    expect(lines.join("\n")).toContain("the marks of chatml are no special tokens of this tokenizer");
    const file = await writeAdapterArchive(join(folder, "chatml.tar.gz"), adapter, llama.model.config);
    expect((await openAdapter(file, llama.model.config)).promptTemplate).toEqual({ prompt_template_name: "chatml" });

    const said: string[] = [];
    const options = { temperature: 0, max_new_tokens: 40, log: (line: string) => said.push(line) };
    const { instruction: prompt, output } = rows[0]!;
    expect(await llama.generate({ prompt }, { ...options, adapter: file }).text()).toBe(output);
    expect(said[0]).toBe("prompt template: chatml, recorded with the adapter");
    expect(await llama.generate({ prompt }, options).text()).not.toBe(output);
    const turns = [{ role: "user", content: prompt }];
    expect(await llama.generate({ messages: turns }, { ...options, adapter: file }).text()).toBe(output);
    const served = await Llama.load({ weights, adapter: file, log: () => {} });
    expect(await served.defaultTemplate()).toBe("chatml, recorded with the adapter");
    expect(await served.generate({ prompt }, options).text()).toBe(output);
    await served.close();
  });
});

describe("predict.ts", () => {
  async function predict(given: Record<string, unknown>): Promise<string> {
    const defaults = Object.entries(predictor.inputs).map(([name, { spec }]) => [name, spec.options.default ?? null]);
    const input = { ...Object.fromEntries(defaults), temperature: 0, max_new_tokens: 40, ...given };
    const context = { model: llama, signal: new AbortController().signal, recordMetric: () => {} };
    let text = "";
    for await (const piece of predictor.run(input, context as never) as AsyncIterable<string>) text += piece;
    return text;
  }

  it("takes messages and template files, and wants exactly one of prompt and messages", async () => {
    const path = join(folder, "short.json");
    const file = { prompt_input: "", prompt_no_input: "### Instruction:\n{instruction}\n\n### Response:\n" };
    writeFileSync(path, JSON.stringify(file));
    const prompt = "What is the capital of France?";
    const messages = [{ role: "user", content: prompt }];
    expect(await predict({ prompt })).not.toBe("");
    expect(await predict({ messages })).toBe(await predict({ prompt }));
    const short = await predict({ prompt, prompt_template_name: "alpaca_short" });
    expect(await predict({ prompt, prompt_template: { path, name: "short.json" } })).toBe(short);
    const refused = (message: string) => ({ code: "PROMPT_MESSAGES", message });
    await expect(predict({ prompt, messages })).rejects.toMatchObject(refused("both prompt and messages are given"));
    await expect(predict({ input: "x" })).rejects.toMatchObject(refused("neither prompt nor messages is given"));
  });
});

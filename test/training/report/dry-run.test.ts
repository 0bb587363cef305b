import { describe, expect, it } from "vitest";
import { openCheckpoint } from "../../../src/llama/checkpoint/index.ts";
import { Llama } from "../../../src/llama/index.ts";
import { baseWithoutWeights, dryRun, type Row, trainLora } from "../../../src/training/index.ts";
import { weights } from "../../weights/embedded-base.ts";
import { chosen } from "../default-settings.ts";

const rows: Row[] = Array.from({ length: 30 }, (_, i) => ({
  instruction: `Which tool has number ${i}?`,
  input: "",
  output: i % 2 === 0 ? "The spade." : "羊驼 is none.",
  source: { file: "data.json", number: i + 1, unit: "record" },
}));
const settings = chosen({ train_on_inputs: false, val_set_size: 0, batch_size: 8, num_epochs: 60, seed: 3 });

describe("a dry run", () => {
  it("shows two examples of the first step token by token, with their places in its micro-batches", async () => {
    const checkpoint = await openCheckpoint(weights);
    const lines: string[] = [];
    const run = { base: baseWithoutWeights(checkpoint), rows, ...settings, log: (line: string) => lines.push(line) };
    const { examples, memory, ...report } = await dryRun(run, checkpoint);
    expect(report.rows).toMatchObject({ total: 30, training: 30 });
    expect(examples).toHaveLength(2);
    const places = examples.flatMap(({ tokens }) => tokens.map(({ place }) => place));
    expect(places).toEqual(Array.from(places, (_, i) => i));
    for (const { source, tokens } of examples) {
      const row = rows[Number(/record (\d+)/.exec(source)![1]) - 1] as { instruction: string; output: string };
      const learnt = tokens.filter(({ learnt }) => learnt);
      expect(checkpoint.tokenizer.decode(learnt.map(({ id }) => id))).toBe(row.output);
      expect(learnt.at(-1)).toMatchObject({ text: "</s>", id: checkpoint.tokenizer.eosId });
      expect(tokens[0]).toMatchObject({ text: "<s>", learnt: false });
      expect(tokens.map(({ text }) => text).join("")).toContain(row.instruction);
    }
    expect(memory.weights).toBeGreaterThan(3e6);
    expect(lines.some((line) => /^Example: data\.json, record \d+; micro-batch 1 of the first step/.test(line))).toBe(
      true,
    );
    expect(lines.some((line) => /^ +0 masked "<s>":1 /.test(line))).toBe(true);
    expect(lines.some((line) => /^ +\d+ learnt .*"<\/s>":2$/.test(line))).toBe(true);
    for (const line of lines) expect(line.length).toBeLessThan(200);
  });
});

describe("a run", () => {
  it("says before its first step what it will take", async () => {
    const base = await Llama.load({ weights, log: () => {} });
    try {
      const lines: string[] = [];
      await trainLora({ base, rows, ...settings, log: (line) => lines.push(line) });
      const estimate = lines.findIndex((line) =>
        /^ {2}estimate +about \d+ (s|min), \d+ MB of memory at most$/.test(line),
      );
      expect(estimate).toBeGreaterThan(lines.indexOf("Report:"));
      expect(estimate).toBeLessThan(lines.findIndex((line) => line.startsWith("step")));
    } finally {
      await base.close();
    }
  });
});

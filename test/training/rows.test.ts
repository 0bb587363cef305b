import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Llama } from "../../src/llama/index.ts";
import { type InstructionRow, type TrainingSettings, trainLora } from "../../src/training/index.ts";
import { weights } from "../weights/embedded-base.ts";
import { chosen } from "./default-settings.ts";

let base: Llama;
beforeAll(async () => {
  base = await Llama.load({ weights });
});
afterAll(() => base.close());

const row = (instruction: string, output: string, number: number): InstructionRow => ({
  instruction,
  input: "",
  output,
  source: { file: "data.json", number, unit: "record" },
});
const manual = "The red lever opens the gate and the blue lever closes it. ".repeat(15);
const quick = { num_epochs: 1, learning_rate: 1e-3, lora_dropout: 0, warmup_steps: 0, val_set_size: 0 };

async function train(rows: readonly InstructionRow[], settings: Partial<TrainingSettings> = {}) {
  const lines: string[] = [];
  const result = await trainLora({
    base,
    rows,
    ...chosen({ ...quick, ...settings }),
    log: (line) => lines.push(line),
  });
  // The report breaks its lines.
  return { ...result, said: lines.join(" ").replace(/ +/g, " ") };
}

describe("rows that are longer than cutoff_len", () => {
  const long = Array.from({ length: 7 }, (_, i) => row(manual, "The red one.", i + 1));
  const short = [row("Name a tool.", "A saw.", 8), row("Name a colour.", "Green.", 9)];

  it.each([true, false])("are left out where no token of their answer is left (train_on_inputs %s)", async (inputs) => {
    const { said, steps, plan } = await train([...long, ...short], { train_on_inputs: inputs, batch_size: 1 });
    expect(said).toMatch(
      /7 of 9 rows are longer than cutoff_len 256: 7 lose their whole answer and are left out, 0 lose its end; cutoff_len=\d+ holds all of them/,
    );
    expect(said).toContain(
      "left out data.json, record 1; data.json, record 2; data.json, record 3; data.json, record 4; data.json, record 5 and 2 more",
    );
    expect(plan.trainingRows).toBe(2);
    // No step is spent on what is not there.
    expect(steps).toHaveLength(2);
    for (const { loss } of steps) expect(loss).toBeGreaterThan(0);
  });

  it("end the run where none is left, and the cutoff_len that the error names holds them all", async () => {
    for (const train_on_inputs of [true, false]) {
      const failure = await train(long, { train_on_inputs }).catch((error) => error);
      expect(failure).toMatchObject({
        code: "DATASET_EMPTY",
        message:
          "none of the 7 rows has a token of its answer within cutoff_len 256: data.json, record 1, 2, 3, 4, 5 and 2 more",
      });
      const cutoff_len = Number(/cutoff_len=(\d+) holds all of them/.exec(failure.hint)![1]);
      const { said, plan } = await train(long, { train_on_inputs, cutoff_len });
      expect(plan.trainingRows).toBe(7);
      expect(said).not.toContain("longer");
      const { said: shorter } = await train(long, { train_on_inputs, cutoff_len: cutoff_len - 1 });
      expect(shorter).toContain("0 lose their whole answer and are left out, 7 lose its end");
    }
  });

  it("are told from those that lose the end of their answer, which stay", async () => {
    const list = row("Write a list.", "saw, nail, rope, lamp, ".repeat(30), 1);
    const { said, plan } = await train([list, ...long, ...short]);
    expect(said).toContain("7 lose their whole answer and are left out, 1 lose its end");
    expect(plan.trainingRows).toBe(3);
  });

  it("have to be shortened where the model's context does not hold them", async () => {
    const endless = row(manual.repeat(100), "The red one.", 10);
    const { said } = await train([...long, endless, ...short]);
    expect(said).toMatch(
      /cutoff_len=\d+ holds 7 of them, 1 are longer than the model's context of 512 tokens and have to be shortened/,
    );
    await expect(train([endless])).rejects.toMatchObject({
      code: "DATASET_EMPTY",
      hint: "The prompts alone are longer: 1 are longer than the model's context of 512 tokens and have to be shortened.",
    });
  });
});

describe("an output that spells its end", () => {
  const marks = ["</s>", "<|end_of_text|>", "<|eot_id|>", "<|im_end|>\n", "</s></s>"];

  it("teaches the same as one that does not: the end is learnt once", async () => {
    const plain = marks.map((_, i) => row(`Which tool has number ${i}?`, "The spade.", i + 1));
    const marked = plain.map((one, i) => ({ ...one, output: one.output + marks[i] }));
    const [expected, found] = [await train(plain), await train(marked)];
    expect(found.adapter.modules).toEqual(expected.adapter.modules);
    expect(found.said).toContain(
      "5 of 5 rows spell the end of their answer (</s>, <|end_of_text|>, <|eot_id|>, <|im_end|>): taken as it",
    );
    expect(expected.said).not.toContain("spell");
  });

  it("may have a mark inside, which stays text", async () => {
    const inside = [row("Which mark ends a text?", "It is </s> in LLaMA.", 1)];
    const without = [row("Which mark ends a text?", "It is  in LLaMA.", 1)];
    const { said, adapter } = await train(inside);
    expect(said).not.toContain("spell");
    expect(said).toContain("1 of 1 rows hold an end mark (</s>) inside a text, where it stays text");
    expect(adapter.modules).not.toEqual((await train(without)).adapter.modules);
  });
});

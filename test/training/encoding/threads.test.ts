import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openCheckpoint } from "../../../src/llama/checkpoint/index.ts";
import { PromptTemplates } from "../../../src/llama/prompt/index.ts";
import type { Row } from "../../../src/training/dataset/row.ts";
import { type EncodingProgress, encodeRows } from "../../../src/training/encoding/encode-rows.ts";
import { weights } from "../../weights/embedded-base.ts";

const { tokenizer, ...checkpoint } = await openCheckpoint(weights);
const templates = new PromptTemplates({ ...checkpoint, tokenizer });
const words = "The red lever opens the gate, and the blue one 关上它。 ";

/** Rows of each kind, of all lengths: above the size from which threads are started. */
function rowsOf(count: number): Row[] {
  return Array.from({ length: count }, (_, i) => {
    const source = { file: "data.json", number: i + 1, unit: "record" } as const;
    const [short, long] = [words.slice(i % 9, 40), words.repeat(1 + 5 * (i % 29))];
    if (i % 3 === 0) return { text: long, source };
    if (i % 3 === 1) return { instruction: i % 7 === 1 ? long : short, input: short, output: long, source };
    const contents = [short, long, "", short];
    const turns = contents.map((content, k) => ({ role: k % 2 === 0 ? "user" : "assistant", content }) as const);
    return { system: i % 2 === 0 ? null : "Be brief.", turns, source };
  });
}
const options = {
  template: await templates.choose({ name: "chatml" }),
  cutoff: 200,
  context: 512,
  train_on_inputs: false,
  place: checkpoint.folder,
};

describe("rows that are encoded by threads", () => {
  it("are the same, in the same order, with any number of them, and say how far they are", async () => {
    const rows = rowsOf(900);
    const expected = await encodeRows(rows, tokenizer, { ...options, threads: 0 });
    expect(new Set(expected.map(({ lost }) => lost))).toEqual(new Set(["nothing", "end", "answer"]));
    for (const threads of [1, 2]) {
      const seen: EncodingProgress[] = [];
      const found = await encodeRows(rows, tokenizer, { ...options, threads, progress: (one) => seen.push(one) });
      expect(found).toEqual(expected);
      expect(seen.at(-1)).toEqual({ done: 900, rows: 900, secondsLeft: 0 });
    }
  });

  it("end with an abort's reason", async () => {
    const controller = new AbortController();
    const encoding = encodeRows(rowsOf(1800), tokenizer, { ...options, threads: 2, signal: controller.signal });
    setTimeout(() => controller.abort(new Error("enough")), 300);
    await expect(encoding).rejects.toThrow("enough");
  });

  it("fail with a thread's own code where its tokenizer cannot be opened", async () => {
    const place = join(weights, "nowhere");
    await expect(encodeRows(rowsOf(900), tokenizer, { ...options, threads: 2, place })).rejects.toMatchObject({
      code: "CHECKPOINT_NOT_FOUND",
    });
  });
});

import { describe, expect, it } from "vitest";
import { sentencePieceTokenizer, type Tokenizer } from "../../../src/llama/tokenizer/index.ts";
import type { Row } from "../../../src/training/dataset/row.ts";
import { type PreparedExamples, prepare } from "../../../src/training/prepare.ts";
import { reportLines } from "../../../src/training/report/text.ts";
import type { TrainingRun } from "../../../src/training/train-lora.ts";
import { modelFile, usualPieces } from "../../llama/tokenizer/sentencepiece-fixture.ts";
import { chosen } from "../default-settings.ts";

/** English letters and bytes: nothing of Chinese. */
const english = sentencePieceTokenizer(
  modelFile(usualPieces([..."▁abcdefghijklmnopqrstuvwxyz.,:#?ABIRSW"])),
  "tokenizer.model",
);
const source = (number: number) => ({ file: "data.json", number, unit: "record" }) as const;
const row = (number: number, instruction: string, output: string, input = ""): Row => ({
  instruction,
  input,
  output,
  source: source(number),
});

const promptOf = (one: Row) => (one as { instruction: string }).instruction;
const answerOf = (one: Row) => (one as { output: string }).output;

async function prepared(rows: readonly Row[], settings: object = {}, tokenizer: Tokenizer = english) {
  const lines: string[] = [];
  const config = { maxPositionEmbeddings: 512, hiddenSize: 64 };
  const run = {
    base: { model: { config }, tokenizer, name: "fixture" },
    rows,
    ...chosen({ val_set_size: 0, num_epochs: 1, batch_size: 4, prompt_template_name: "none", ...settings }),
    log: (line: string) => lines.push(line),
  };
  const result: PreparedExamples = await prepare(run as unknown as TrainingRun);
  return { ...result, report: result.report!, lines };
}

describe("the report", () => {
  const rows = Array.from({ length: 40 }, (_, i) =>
    row(i + 1, `${"ab ".repeat(i % 11)}${"abcdefghijklmnopqrstuvwxyz"[i % 26]}${i % 2}`, "cd ".repeat((i * 7) % 90)),
  );

  it.each([true, false])("counts what an independent count does (train_on_inputs %s)", async (train_on_inputs) => {
    const cutoff_len = 120;
    const all = [...rows, row(41, "what?", ""), row(42, "what?", "")];
    const { report } = await prepared(all, { train_on_inputs, cutoff_len });

    // The template is the instruction alone, and no piece has two letters: a token is a character.
    const units = (text: string) =>
      Array.from(text, (c) => ("abcdefghijklmnopqrstuvwxyz ?".includes(c) ? 1 : Buffer.byteLength(c))).reduce(
        (a, b) => a + b,
        0,
      );
    const lengths = all.map((one) => 3 + units(promptOf(one) + answerOf(one)));
    const prompts = all.map((one) => 2 + units(promptOf(one)));
    const kept = all.flatMap((_, i) => (lengths[i]! > cutoff_len && prompts[i]! >= cutoff_len ? [] : [i]));
    const total = kept.reduce((sum, i) => sum + Math.min(cutoff_len, lengths[i]!), 0);
    const masked = kept.reduce((sum, i) => sum + (train_on_inputs ? 1 : prompts[i]!), 0);
    const sorted = lengths.toSorted((a, b) => a - b);
    expect(report.rows).toEqual({ total: 42, training: kept.length, validation: 0, split: 0 });
    expect(report.tokens).toEqual({ total, learnt: total - masked, masked });
    expect(report.lengths).toMatchObject({
      shortest: sorted[0],
      median: sorted[20],
      p99: sorted[41],
      longest: sorted[41],
    });
    for (const { from, to, rows: found } of report.lengths.bins) {
      expect(found).toBe(lengths.filter((length) => length >= from && length <= to).length);
    }
    expect(report.lengths.bins.reduce((sum, { rows: found }) => sum + found, 0)).toBe(42);
    const cut = lengths.filter((length) => length > cutoff_len).length;
    expect(cut).toBeGreaterThan(0);
    expect(report.cutoff).toMatchObject({
      cutoff_len,
      cut,
      leftOut: 42 - kept.length,
      holds99: sorted[41],
      holdsAll: sorted[41],
      beyondContext: 0,
    });
    expect(report.emptyAnswers).toBe(all.filter((one) => answerOf(one) === "").length);
    expect(report.duplicates).toEqual({ rows: 1, first: ["data.json, record 42"] });
    expect(report.characters.total).toBe(all.map((one) => promptOf(one) + answerOf(one)).join("").length);
    const steps = Math.ceil(kept.length / 4);
    expect(report.steps).toEqual({ perEpoch: steps, epochs: 1, total: steps });
  });

  it("tells an end mark that stays text from one that is the token", async () => {
    const marked = [row(1, "which </s> is it", "this</s>"), row(2, "which", "that")];
    const endMarks = { ended: 1, inside: 1, marks: ["</s>"] };
    const { report } = await prepared(marked, { prompt_template_name: "alpaca_short" });
    expect(report.endMarks).toEqual({ ...endMarks, insideAs: "text" });
    const { report: typed, lines } = await prepared(marked);
    expect(typed.endMarks).toEqual({ ...endMarks, insideAs: "token" });
    expect(lines.join(" ").replace(/ +/g, " ")).toContain(
      "1 of 2 rows hold an end mark (</s>) inside a text, where it is the token",
    );
  });

  it("says what a Chinese text is to an English vocabulary", async () => {
    const chinese = [row(1, "what is 红色?", "红的。", "😀"), row(2, "and this", "红红")];
    const { report, lines } = await prepared(chinese);
    expect(report.characters.bytes).toEqual({
      characters: 8,
      share: 8 / 25,
      distinct: 5,
      most: [
        { character: "红", count: 4 },
        { character: "。", count: 1 },
        { character: "的", count: 1 },
        { character: "色", count: 1 },
        { character: "😀", count: 1 },
      ],
    });
    expect(report.characters.unknown.characters).toBe(0);
    const said = lines.join(" ").replace(/ +/g, " ");
    expect(said).toContain(
      "32 % of them (8, 5 different) have no piece in this vocabulary and take several tokens each: 红 4, 。 1",
    );
  });

  it("tells characters that the vocabulary cannot write at all", async () => {
    const withoutBytes = sentencePieceTokenizer(
      modelFile(
        usualPieces([..."▁abcdefghijklmnopqrstuvwxyz."]).filter(({ text }) => !text.startsWith("<0x")),
        { byteFallback: false },
      ),
      "tokenizer.model",
    );
    const { report } = await prepared([row(1, "a", "红 b 红")], {}, withoutBytes);
    expect(report.characters.unknown.most).toEqual([{ character: "红", count: 2 }]);
    expect(report.characters.bytes.characters).toBe(0);
  });

  it("is short for a few rows and never wider than a terminal", async () => {
    const few = await prepared([row(1, "what is it", "this")]);
    expect(reportLines(few.report).length).toBeLessThan(9);
    const many = await prepared(rows, { cutoff_len: 60 });
    const lines = reportLines(many.report);
    expect(lines.length).toBeLessThan(30);
    for (const line of [...lines, ...reportLines(few.report)]) expect(line.length).toBeLessThanOrEqual(80);
    expect(lines.some((line) => /^ +\d+-\d+ +\d+ {2}#+$/.test(line))).toBe(true);
  });
});

import { describe, expect, it } from "vitest";
import { sentencePieceTokenizer } from "../../src/llama/tokenizer/index.ts";
import { encodeRow, encodeRows } from "../../src/training/examples.ts";
import type { Row } from "../../src/training/index.ts";
import { modelFile, usualPieces } from "../llama/tokenizer/sentencepiece-fixture.ts";

/** ":a" crosses the border between alpaca_legacy's prompt and an output that begins with a. */
const letters = [..."▁ABIRSbcdefhiklmnopqrstuvwxyz.,#:a"];
const tokenizer = sentencePieceTokenizer(modelFile(usualPieces([":a", ...letters])), "tokenizer.model");
const source = { file: "data.json", number: 1, unit: "record" } as const;
const row = (instruction: string, output: string, input = ""): Row => ({ instruction, input, output, source });
const all = { cutoff: 512, context: 1024, prompt_template_name: "alpaca", train_on_inputs: true };
const { bosId, eosId } = tokenizer;
const encodeExample = (...words: Parameters<typeof encodeRow>) => encodeRow(...words).example;

describe("encodeRow", () => {
  it("is BOS, prompt and output encoded together, EOS", () => {
    const { tokens, masked, targets } = encodeExample(row("name it", "abc"), tokenizer, {
      ...all,
      prompt_template_name: "none",
    });
    expect([...tokens]).toEqual([bosId, ...tokenizer.encode("name itabc"), eosId]);
    expect(masked).toBe(0);
    expect(targets).toBe(tokens.length - 1);
  });

  it("words the row as the template says", () => {
    const { tokens } = encodeExample(row("do it", "abc", "with this"), tokenizer, all);
    const text = tokenizer.decode(tokens);
    expect(text).toMatch(/### Instruction:\ndo it\n\n### Input:\nwith this\n\n### Response:\nabc$/);
  });

  it("appends EOS exactly where a row is shorter than the cutoff", () => {
    const whole = encodeExample(row("x", "abcabc"), tokenizer, { ...all, prompt_template_name: "none" }).tokens;
    for (const [cutoff, ending] of [
      [whole.length + 1, eosId],
      [whole.length, eosId],
      [whole.length - 1, whole.at(-2)],
      [whole.length - 2, whole.at(-3)],
    ] as const) {
      const { tokens } = encodeExample(row("x", "abcabc"), tokenizer, { ...all, cutoff, prompt_template_name: "none" });
      expect(tokens.length).toBe(Math.min(cutoff, whole.length));
      expect(tokens.at(-1)).toBe(ending);
    }
  });

  it("masks exactly the prompt when only outputs are learnt", () => {
    const only = { ...all, train_on_inputs: false };
    const { tokens, masked, targets } = encodeExample(row("do it", "abc", "with this"), tokenizer, only);
    expect(tokenizer.decode(tokens.subarray(masked))).toBe("abc");
    // a, b, c and EOS
    expect(targets).toBe(4);
  });

  it("learns a token that straddles the border of prompt and output", () => {
    const legacy = { ...all, prompt_template_name: "alpaca_legacy", train_on_inputs: false };
    const { tokens, masked } = encodeExample(row("do it", "abc"), tokenizer, legacy);
    expect(tokenizer.piece(tokens[masked]!)).toBe(":a");
    expect(encodeExample(row("do it", "bc"), tokenizer, legacy).masked).toBe(masked + 1);
  });

  it("has no target where the prompt fills the cutoff, and learns only EOS of an empty output", () => {
    const only = { ...all, train_on_inputs: false };
    const prompt = encodeExample(row("do it", ""), tokenizer, only);
    expect([prompt.targets, prompt.tokens.at(-1)]).toEqual([1, eosId]);
    const cutoff = prompt.tokens.length - 1;
    const { tokens, targets } = encodeExample(row("do it", "abc"), tokenizer, { ...only, cutoff });
    expect([tokens.length, targets]).toEqual([cutoff, 0]);
  });

  it("cuts a text of any length to the same tokens", () => {
    const long = "abc ".repeat(100_000);
    const short = encodeExample(row("x", long.slice(0, 1000)), tokenizer, { ...all, cutoff: 64 });
    expect(encodeExample(row("x", long), tokenizer, { ...all, cutoff: 64 }).tokens).toEqual(short.tokens);
  });
});

describe("encodeRows", () => {
  it("keeps order and source, and stops at an abort", async () => {
    const rows = Array.from({ length: 5000 }, (_, i) => ({
      ...row(`${i}`, "abc"),
      source: { ...source, number: i + 1 },
    }));
    const examples = await encodeRows(rows, tokenizer, all);
    expect(examples.map(({ example }) => example.source.number)).toEqual(rows.map((_, i) => i + 1));
    await expect(encodeRows(rows, tokenizer, { ...all, signal: AbortSignal.abort() })).rejects.toMatchObject({
      name: "AbortError",
    });
  });
});

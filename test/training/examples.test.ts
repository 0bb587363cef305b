import { describe, expect, it } from "vitest";
import { PromptTemplates } from "../../src/llama/prompt/index.ts";
import { sentencePieceTokenizer } from "../../src/llama/tokenizer/index.ts";
import { encodeRows } from "../../src/training/encoding/encode-rows.ts";
import type { InstructionRow } from "../../src/training/index.ts";
import { modelFile, usualPieces } from "../llama/tokenizer/sentencepiece-fixture.ts";

/** ":a" crosses the border between alpaca_legacy's prompt and an output that begins with a. */
const letters = [..."▁ABIRSbcdefhiklmnopqrstuvwxyz.,#:a"];
const tokenizer = sentencePieceTokenizer(modelFile(usualPieces([":a", ...letters])), "tokenizer.model");
const source = { file: "data.json", number: 1, unit: "record" } as const;
const row = (instruction: string, output: string, input = ""): InstructionRow => ({
  instruction,
  input,
  output,
  source,
});
const templates = new PromptTemplates({ tokenizer });
const all = { cutoff: 512, context: 1024, template: await templates.choose({}), train_on_inputs: true };
const none = { ...all, template: await templates.choose({ name: "none" }) };
const { bosId, eosId } = tokenizer;
const encodeExample = async (item: InstructionRow, options = all) =>
  (await encodeRows([item], tokenizer, options))[0]!.examples[0]!;
/** Tokens before the first that is learnt; all in one range to the end. */
const maskedOf = ({ learnt, tokens }: Awaited<ReturnType<typeof encodeExample>>) => {
  expect([learnt.length, learnt[1]]).toEqual([2, tokens.length]);
  return learnt[0]!;
};

describe("a row", () => {
  it("is BOS, prompt and output encoded together, EOS", async () => {
    const { tokens, learnt, targets } = await encodeExample(row("name it", "abc"), none);
    expect([...tokens]).toEqual([bosId, ...tokenizer.encode("name itabc"), eosId]);
    // Nothing predicts BOS.
    expect([...learnt]).toEqual([1, tokens.length]);
    expect(targets).toBe(tokens.length - 1);
  });

  it("words the row as the template says", async () => {
    const { tokens } = await encodeExample(row("do it", "abc", "with this"), all);
    const text = tokenizer.decode(tokens);
    expect(text).toMatch(/### Instruction:\ndo it\n\n### Input:\nwith this\n\n### Response:\nabc$/);
  });

  it("appends EOS exactly where a row is shorter than the cutoff", async () => {
    const whole = (await encodeExample(row("x", "abcabc"), none)).tokens;
    for (const [cutoff, ending] of [
      [whole.length + 1, eosId],
      [whole.length, eosId],
      [whole.length - 1, whole.at(-2)],
      [whole.length - 2, whole.at(-3)],
    ] as const) {
      const { tokens } = await encodeExample(row("x", "abcabc"), { ...none, cutoff });
      expect(tokens.length).toBe(Math.min(cutoff, whole.length));
      expect(tokens.at(-1)).toBe(ending);
    }
  });

  it("masks exactly the prompt when only outputs are learnt", async () => {
    const only = { ...all, train_on_inputs: false };
    const example = await encodeExample(row("do it", "abc", "with this"), only);
    expect(tokenizer.decode(example.tokens.subarray(maskedOf(example)))).toBe("abc");
    // a, b, c and EOS
    expect(example.targets).toBe(4);
  });

  it("learns a token that straddles the border of prompt and output", async () => {
    const legacy = {
      ...all,
      template: await templates.choose({ name: "alpaca_legacy" }),
      train_on_inputs: false,
    };
    const example = await encodeExample(row("do it", "abc"), legacy);
    const masked = maskedOf(example);
    expect(tokenizer.piece(example.tokens[masked]!)).toBe(":a");
    expect(maskedOf(await encodeExample(row("do it", "bc"), legacy))).toBe(masked + 1);
  });

  it("is no example where the prompt fills the cutoff, and learns only EOS of an empty output", async () => {
    const only = { ...all, train_on_inputs: false };
    const prompt = await encodeExample(row("do it", ""), only);
    expect([prompt.targets, prompt.tokens.at(-1)]).toEqual([1, eosId]);
    const cutoff = prompt.tokens.length - 1;
    const [lost] = await encodeRows([row("do it", "abc")], tokenizer, { ...only, cutoff });
    expect(lost).toMatchObject({ examples: [], lost: "answer", answers: 1, lostAnswers: 1 });
  });

  it("cuts a text of any length to the same tokens", async () => {
    const long = "abc ".repeat(100_000);
    const short = await encodeExample(row("x", long.slice(0, 1000)), { ...none, cutoff: 64 });
    expect((await encodeExample(row("x", long), { ...none, cutoff: 64 })).tokens).toEqual(short.tokens);
  });
});

describe("a text", () => {
  it("is BOS, its tokens and EOS, all learnt and without a template", async () => {
    const text = { text: "abc abc", source };
    const [{ examples, lost, length }] = (await encodeRows([text], tokenizer, { ...all, train_on_inputs: false })) as [
      Awaited<ReturnType<typeof encodeRows>>[0],
    ];
    const tokens = [bosId, ...tokenizer.encode("abc abc"), eosId];
    expect(examples).toEqual([
      { tokens: Int32Array.from(tokens), learnt: Int32Array.of(1, tokens.length), targets: tokens.length - 1, source },
    ]);
    expect([lost, length]).toEqual(["nothing", tokens.length]);
    const [cut] = await encodeRows([text], tokenizer, { ...all, cutoff: tokens.length - 1 });
    expect([[...cut!.examples[0]!.tokens], cut!.lost]).toEqual([tokens.slice(0, -1), "end"]);
  });
});

describe("encodeRows", () => {
  it("keeps order and source, and stops at an abort", async () => {
    const rows = Array.from({ length: 5000 }, (_, i) => ({
      ...row(`${i}`, "abc"),
      source: { ...source, number: i + 1 },
    }));
    const examples = await encodeRows(rows, tokenizer, all);
    expect(examples.map(({ examples: [example] }) => example!.source.number)).toEqual(rows.map((_, i) => i + 1));
    await expect(encodeRows(rows, tokenizer, { ...all, signal: AbortSignal.abort() })).rejects.toMatchObject({
      name: "AbortError",
    });
  });
});

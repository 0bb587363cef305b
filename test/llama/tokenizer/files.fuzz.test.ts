import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { isCodedError } from "../../../src/errors/index.ts";
import { runNow } from "../../../src/llama/time-slices.ts";
import { ggufTokenizer } from "../../../src/llama/tokenizer/gguf.ts";
import { openTokenizer } from "../../../src/llama/tokenizer/open.ts";
import { readSentencePieceModel } from "../../../src/llama/tokenizer/sentencepiece-model.ts";
import { bounded, damaged, expectLinear, soup, valueOrCode } from "../../fuzzing.ts";

const folder = mkdtempSync(join(tmpdir(), "tokenizer-"));
const model = readFileSync(join(import.meta.dirname, "../../../weights/tiny/tokenizer.model"));
afterAll(() => rmSync(folder, { recursive: true }));

/** Encodes and decodes a text, as a prediction would. */
async function open(name: string, content: Uint8Array) {
  rmSync(join(folder, "tokenizer.model"), { force: true });
  writeFileSync(join(folder, name), content);
  const opened = await valueOrCode(
    () => openTokenizer([folder]),
    "TOKENIZER_CORRUPT",
    "TOKENIZER_UNSUPPORTED",
    "TOKENIZER_NOT_FOUND",
  );
  if (isCodedError(opened)) return;
  const ids = opened.tokenizer.encode("A tiny alpaca é.");
  for (const id of ids) expect(Number.isSafeInteger(id) && id >= 0).toBe(true);
  expect(typeof opened.tokenizer.decode(ids)).toBe("string");
}

const pieces = { "<unk>": 0, "<s>": 1, "</s>": 2, a: 3, b: 4, ab: 5, "▁": 6, "▁a": 7 };
const part = fc.oneof(
  fc.jsonValue(),
  fc.constantFrom(
    null,
    { type: "ByteFallback" },
    { type: "Fuse" },
    { type: "Prepend", prepend: "▁" },
    { type: "Sequence" },
    { type: "Sequence", decoders: [null] },
    { type: "Metaspace" },
    { type: "Metaspace", replacement: "▁", prepend_scheme: "first", split: false },
    { type: "ByteLevel", add_prefix_space: true },
    { type: "NFKC" },
    { type: "Lowercase" },
    { type: "Strip", strip_left: true, content: "▁", start: 1, stop: 1 },
    { type: "Digits" },
    { type: "Whitespace" },
    { type: "TemplateProcessing", single: [{ SpecialToken: { id: "<s>" } }] },
  ),
  fc.record({
    type: fc.constantFrom("Split", "Replace", "Punctuation"),
    pattern: fc.record(
      {
        Regex: soup(
          [
            "a",
            "b",
            "(",
            ")",
            "[",
            "]",
            "|",
            "*",
            "+",
            "?",
            "\\",
            "\\p{L}",
            "(?!",
            "(?i:",
            "{1,3}",
            "^",
            "$",
            "&&",
            "-",
          ],
          12,
        ),
        String: fc.string({ maxLength: 3 }),
      },
      { requiredKeys: [] },
    ),
    behavior: fc.constantFrom("Isolated", "Removed", "MergedWithNext", "Contiguous", "merged_with_previous", 1),
    invert: fc.boolean(),
    content: fc.constantFrom("", "▁", "ab", null),
  }),
  fc
    .array(fc.constantFrom({ type: "NFD" }, { type: "Fuse" }, { type: "ByteFallback" }, { type: "WhitespaceSplit" }), {
      maxLength: 3,
    })
    .map((list) => ({ type: "Sequence", normalizers: list, pretokenizers: list, decoders: list, processors: list })),
);
const tokenizerJson = fc.record(
  {
    model: fc.oneof(
      {
        weight: 4,
        arbitrary: fc.record({
          type: fc.constantFrom("BPE", "BPE", "BPE", "Unigram", null),
          vocab: fc.oneof(
            { weight: 3, arbitrary: fc.constant(pieces) },
            fc.dictionary(fc.constantFrom("a", "b", "ab", "__proto__"), fc.oneof(fc.nat(8), fc.jsonValue())),
            fc.jsonValue(),
          ),
          merges: fc.oneof(
            fc.array(fc.constantFrom("a b", ["a", "b"], "▁ a", "a", "x y", ["a"], null, 1)),
            fc.jsonValue(),
          ),
          unk_token: fc.constantFrom("<unk>", "none", null, 1),
          byte_fallback: fc.constantFrom(true, false, null),
          ignore_merges: fc.boolean(),
          fuse_unk: fc.boolean(),
        }),
      },
      fc.jsonValue(),
    ),
    added_tokens: fc.oneof(
      fc.constant([{ id: 1, content: "<s>", special: true }]),
      fc.array(
        fc.record({
          id: fc.oneof(fc.nat(12), fc.integer(), fc.jsonValue()),
          content: fc.oneof(fc.constantFrom("</s>", "al", " ", "é"), fc.jsonValue()),
          special: fc.boolean(),
          lstrip: fc.boolean(),
          rstrip: fc.boolean(),
          single_word: fc.boolean(),
          normalized: fc.boolean(),
        }),
      ),
      fc.jsonValue(),
    ),
    normalizer: part,
    pre_tokenizer: part,
    post_processor: part,
    decoder: part,
  },
  { requiredKeys: [] },
);

const bpe = (vocab: object, merges: readonly string[]) => JSON.stringify({ model: { type: "BPE", vocab, merges } });

describe("whatever a tokenizer's file holds, it", () => {
  it("encodes and decodes, or is refused with a code: tokenizer.model", async () => {
    const property = fc.asyncProperty(
      fc.oneof(damaged(model), damaged(model.subarray(0, 40)), fc.uint8Array()),
      (bytes) => open("tokenizer.model", bytes),
    );
    await fc.assert(property, bounded);
  });

  it("encodes and decodes, or is refused with a code: LLaMA 3's list of ranks", async () => {
    const line = (bytes: Uint8Array, rank: number | string) => `${Buffer.from(bytes).toString("base64")} ${rank}\n`;
    const bytes = Array.from({ length: 256 }, (_, byte) => line(Buffer.of(byte), byte)).join("");
    const more = fc.array(
      fc.tuple(fc.uint8Array({ maxLength: 4 }), fc.oneof(fc.constantFrom(-1, "x", 257), fc.nat(2))),
      {
        maxLength: 4,
      },
    );
    // Ranks go on where the bytes end, in most of them.
    const list = more.map((lines) =>
      lines.map(([token, step], i) => line(token, typeof step === "number" ? 256 + i : step)).join(""),
    );
    const text = fc.oneof(
      list.map((lines) => Buffer.from(bytes + lines)),
      damaged(Buffer.from(bytes)),
      soup(["YQ==", " ", "0", "\n", "\r\n", "="]).map((rest) => Buffer.from(`YQ== 0\n${rest}`)),
    );
    const property = fc.asyncProperty(text, (content) => open("tokenizer.model", content));
    await fc.assert(property, { ...bounded, numRuns: 150 });
  });

  it("encodes and decodes, or is refused with a code: GGUF's lists", async () => {
    const token = fc.constantFrom("<unk>", "<s>", "</s>", "▁", "a", "l", "al", "<0x41>", "Ġ", "", "é");
    const list = <T>(item: fc.Arbitrary<T>) => fc.option(fc.array(item, { minLength: 6, maxLength: 8 }));
    const metadata = fc.record({
      model: fc.constantFrom("llama", "gpt2", "bert"),
      pre: fc.constantFrom(null, "llama-bpe", "qwen2", "smollm", "x"),
      tokens: fc.array(token, { minLength: 6, maxLength: 8 }),
      tokenTypes: list(fc.oneof({ weight: 8, arbitrary: fc.constantFrom(1, 2, 3, 4, 6) }, fc.constantFrom(0, 1.5, 7))),
      scores: list(fc.oneof(fc.double(), fc.constantFrom(0, -1))),
      merges: fc.option(fc.array(fc.constantFrom("a l", "l a", "a", "", " ", "x y", "▁ a"), { maxLength: 4 })),
      bosId: fc.constantFrom(null, 0, 1, 8, -1, 0.5),
      eosId: fc.constantFrom(null, 2, 5, 2 ** 53),
      addBos: fc.option(fc.boolean()),
      addSpacePrefix: fc.option(fc.boolean()),
    });
    const property = fc.asyncProperty(metadata, async (said) => {
      const read = await valueOrCode(() => ggufTokenizer(said, "GGUF"), "TOKENIZER_CORRUPT", "TOKENIZER_UNSUPPORTED");
      if (isCodedError(read)) return;
      const ids = read.encode("A tiny alpaca é.");
      for (const id of ids) expect(Number.isSafeInteger(id) && id >= 0 && id < said.tokens.length).toBe(true);
      expect(typeof read.decode(ids)).toBe("string");
    });
    await fc.assert(property, { ...bounded, numRuns: 1000 });
  });

  it("encodes and decodes, or is refused with a code: tokenizer.json", async () => {
    const property = fc.asyncProperty(
      fc.oneof({ weight: 6, arbitrary: tokenizerJson.map((value) => JSON.stringify(value)) }, fc.json()),
      (json) => open("tokenizer.json", Buffer.from(json)),
    );
    await fc.assert(property, bounded);
  });

  it("encodes and decodes, or is refused with a code: the files beside a tokenizer.model", async () => {
    const value = fc.oneof(
      fc.constantFrom("<s>", "</s>", "<pad>", true, false, 512, { content: "<pad>" }),
      fc.jsonValue(),
    );
    const key = fc.constantFrom(
      "bos_token",
      "eos_token",
      "add_bos_token",
      "legacy",
      "added_tokens_decoder",
      "<pad>",
      "512",
    );
    const property = fc.asyncProperty(
      fc.constantFrom("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
      fc.oneof(fc.dictionary(key, fc.oneof(value, fc.dictionary(key, value))), fc.jsonValue()),
      async (name, content) => {
        writeFileSync(join(folder, name), JSON.stringify(content));
        await open("tokenizer.model", model);
        rmSync(join(folder, name));
      },
    );
    await fc.assert(property, { ...bounded, numRuns: 100 });
  });

  it.each([
    ["open brackets", (n: number) => "[".repeat(n)],
    ["pieces", (n: number) => bpe(Object.fromEntries(Array.from({ length: n / 16 }, (_, i) => [`p${i}`, i])), [])],
    [
      "merges",
      (n: number) =>
        bpe(
          pieces,
          Array.from({ length: n / 6 }, () => "a b"),
        ),
    ],
    ["merges of long pieces", (n: number) => bpe(pieces, [`${"a".repeat(n / 2)} ${"b".repeat(n / 2)}`])],
  ])("costs time and memory in proportion to its length: tokenizer.json, %s", async (_, input) => {
    await expectLinear(input, (json: string) => open("tokenizer.json", Buffer.from(json)));
  });

  it.each([
    ["zeros", (n: number) => new Uint8Array(n)],
    ["numbers that go on", (n: number) => new Uint8Array(n).fill(0x80)],
    ["empty pieces", (n: number) => Buffer.from("0a00".repeat(n / 2), "hex")],
    ["short pieces", (n: number) => Buffer.from("0a030a0161".repeat(n / 5), "hex")],
    [
      "fields of one piece",
      (n: number) => Buffer.concat([Buffer.from([0x0a, 0x80, 0x80, 0x40]), Buffer.alloc(n, Buffer.from([0x18, 1]))]),
    ],
  ])("costs time and memory in proportion to its length: %s", async (_, input) => {
    await expectLinear(input, (bytes: Uint8Array) => {
      try {
        return runNow(readSentencePieceModel(bytes, "tokenizer.model"));
      } catch (error) {
        return error;
      }
    });
  });
});

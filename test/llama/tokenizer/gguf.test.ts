import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isCodedError } from "../../../src/errors/index.ts";
import { jsonTokenizer } from "../../../src/llama/tokenizer/huggingface-json.ts";
import {
  type GgufTokenizerMetadata,
  ggufTokenizer,
  sentencePieceTokenizer,
  type Tokenizer,
  tokenizerMetadata,
} from "../../../src/llama/tokenizer/index.ts";
import { publishedWords } from "../../../src/llama/tokenizer/published-patterns.ts";
import { bounded, valueOrCode } from "../../fuzzing.ts";

const golden = JSON.parse(readFileSync(join(import.meta.dirname, "fixtures/published.json"), "utf8"));
const texts: string[] = golden.texts;
const file = join(import.meta.dirname, "../../../weights/tiny/tokenizer.model");
const tiny = sentencePieceTokenizer(readFileSync(file), file);
const config = {
  bos: null,
  eos: null,
  addBos: null,
  addEos: null,
  className: null,
  legacy: null,
  addPrefixSpace: null,
};

function published(name: string): Tokenizer {
  const { definition } = golden.cases.find((golden: { name: string }) => golden.name === name);
  const [eos] = definition.added_tokens.map(({ content }: { content: string }) => content);
  return jsonTokenizer(JSON.stringify(definition), `${name}.json`, { ...config, eos, added: [] });
}

function expectSame(ours: Tokenizer, theirs: Tokenizer): void {
  expect([theirs.bosId, theirs.eosId, theirs.vocabSize]).toEqual([ours.bosId, ours.eosId, ours.vocabSize]);
  for (const text of texts) {
    const ids = [...ours.encode(text)];
    expect([...theirs.encode(text)], JSON.stringify(text)).toEqual(ids);
    expect(theirs.decode(ids)).toBe(ours.decode(ids));
  }
}

describe("a tokenizer written as GGUF's metadata", () => {
  it.each([
    ["LLaMA-3", "gpt2", "llama-bpe"],
    ["Qwen3", "gpt2", "qwen2"],
    ["DeepSeek-V3", "gpt2", "deepseek-v3"],
    ["Mistral-Nemo", "gpt2", "tekken"],
    ["SmolLM2", "gpt2", "smollm"],
    ["GPT-2", "gpt2", "gpt-2"],
  ])("is read as the same one: %s", (name, model, pre) => {
    const case_ = golden.cases.find((golden: { name: string }) => golden.name === name);
    const base = golden.cases.find((golden: { name: string }) => golden.name === case_.base);
    if (base) case_.definition.model = { ...base.definition.model, ...case_.definition.model };
    if (name === "GPT-2") case_.definition.model.ignore_merges = false;
    const tokenizer = published(name);
    const metadata = tokenizerMetadata(tokenizer);
    expect([metadata.model, metadata.pre]).toEqual([model, pre]);
    expectSame(tokenizer, ggufTokenizer(metadata, "model.gguf"));
  });

  it("is read as the same one: SentencePiece", () => {
    const metadata = tokenizerMetadata(tiny);
    expect(metadata).toMatchObject({ model: "llama", bosId: 1, eosId: 2, addBos: true, addSpacePrefix: true });
    expect(metadata.tokenTypes!.slice(0, 4)).toEqual([2, 3, 3, 6]);
    expectSame(tiny, ggufTokenizer(metadata, "model.gguf"));
  });

  it("is refused by name where GGUF has none for how it splits", () => {
    const { definition } = golden.cases.find((golden: { name: string }) => golden.name === "SmolLM2");
    const other = { ...definition, pre_tokenizer: { type: "ByteLevel", add_prefix_space: true, use_regex: true } };
    const eos = definition.added_tokens[0].content;
    const tokenizer = jsonTokenizer(JSON.stringify(other), "other.json", { ...config, eos, added: [] });
    expect(() => tokenizerMetadata(tokenizer)).toThrow(/other\.json: writing its pre-tokeniser into GGUF/);
  });
});

const bytes: GgufTokenizerMetadata = {
  ...tokenizerMetadata(published("SmolLM2")),
  pre: "default",
};

describe("GGUF's metadata", () => {
  it("puts BOS before a text where it says so, and where its kind of model does", () => {
    const of = (fields: Partial<GgufTokenizerMetadata>) => ggufTokenizer({ ...bytes, bosId: 1, ...fields }).bosId;
    expect(of({ addBos: true })).toBe(1);
    expect(of({ addBos: false, pre: "llama-bpe" })).toBe(null);
    expect(of({ addBos: null, pre: "llama-bpe" })).toBe(1);
    expect(of({ addBos: null, pre: "qwen2" })).toBe(null);
  });

  it("leaves out the space in front where it says so, and puts it behind special tokens otherwise", () => {
    const metadata = tokenizerMetadata(tiny);
    const bare = ggufTokenizer({ ...metadata, addSpacePrefix: false });
    expect([...bare.encode(" the")]).toEqual([...tiny.encode("the")]);
    expect([...ggufTokenizer(metadata).encode([2, "the"])]).toEqual([2, ...tiny.encode("the")]);
  });

  it.each([
    [{ model: "bert" }, "TOKENIZER_UNSUPPORTED", '"bert"'],
    [{ pre: "chameleon" }, "TOKENIZER_UNSUPPORTED", '"chameleon"'],
    [{ eosId: null }, "TOKENIZER_UNSUPPORTED", "end of text"],
    [{ eosId: 1e6 }, "TOKENIZER_CORRUPT", "eos_token_id is 1000000"],
    [{ tokens: [] }, "TOKENIZER_CORRUPT", "tokens has 0 entries"],
    [{ tokenTypes: [1] }, "TOKENIZER_CORRUPT", "token_type has 1 entries"],
    [{ merges: ["a"] }, "TOKENIZER_CORRUPT", "merge 0"],
    [{ merges: null }, "TOKENIZER_CORRUPT", "merges"],
  ])("is refused by name: %j", (fields, code, text) => {
    expect(() => ggufTokenizer({ ...bytes, ...fields } as GgufTokenizerMetadata, "x.gguf")).toThrow(
      expect.objectContaining({ code, message: expect.stringContaining(text) }),
    );
  });

  it("encodes and decodes, or is refused with a code, whatever it holds", async () => {
    const tokens = ["<unk>", "<s>", "a", "b", "ab", "\u2581", "\u2581a", "<0x0A>", "\u0120", "", "[PAD]"];
    const id = fc.option(fc.nat(12));
    const metadata = fc.record({
      model: fc.constantFrom("llama", "gpt2", "bert"),
      pre: fc.constantFrom(null, ...publishedWords.map(({ names }) => names[0]!), "other"),
      tokens: fc.array(fc.constantFrom(...tokens), { maxLength: 12 }),
      tokenTypes: fc.option(fc.array(fc.integer({ min: 0, max: 7 }), { minLength: 8, maxLength: 12 })),
      scores: fc.option(fc.array(fc.float(), { minLength: 8, maxLength: 12 })),
      merges: fc.option(fc.array(fc.constantFrom("a b", "\u2581 a", "a", "a b c", " "), { maxLength: 3 })),
      bosId: id,
      eosId: id,
      addBos: fc.option(fc.boolean()),
      addSpacePrefix: fc.option(fc.boolean()),
    });
    const property = fc.asyncProperty(metadata, async (given) => {
      const opened = await valueOrCode(() => ggufTokenizer(given), "TOKENIZER_CORRUPT", "TOKENIZER_UNSUPPORTED");
      if (isCodedError(opened)) return;
      const ids = opened.encode("A ab\n\u00e9");
      expect(typeof opened.decode(ids)).toBe("string");
    });
    await fc.assert(property, bounded);
  });
});

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SpecialNames } from "../../../src/llama/prompt/special-names.ts";
import { byteCharacters, spell } from "../../../src/llama/tokenizer/byte-spelling.ts";
import { openTokenizer } from "../../../src/llama/tokenizer/index.ts";
import { llama3Pattern } from "../../../src/llama/tokenizer/published-patterns.ts";
import { modelFile, usualPieces } from "./sentencepiece-fixture.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "tokenizer-"));
});
afterEach(() => rm(folder, { recursive: true }));

const special = (id: number, content: string) => ({ id, content, special: true, normalized: false });
const split = { type: "Split", pattern: { Regex: llama3Pattern }, behavior: "Isolated", invert: false };
const byteLevel = { type: "ByteLevel", add_prefix_space: false, use_regex: false };

/** LLaMA 3's kind: the bytes (id = place in byteCharacters), what the merges give, then the special tokens. */
function llama3Json(
  merges: readonly (readonly [string, string])[],
  more: readonly string[] = [],
  changes: object = {},
) {
  const pieces = [...byteCharacters, ...merges.map((pair) => pair.join("")), ...more];
  return {
    added_tokens: [special(pieces.length, "<|begin_of_text|>"), special(pieces.length + 1, "<|end_of_text|>")],
    normalizer: null,
    pre_tokenizer: { type: "Sequence", pretokenizers: [split, byteLevel] },
    decoder: { type: "ByteLevel" },
    model: {
      type: "BPE",
      ignore_merges: true,
      vocab: Object.fromEntries(pieces.map((piece, id) => [piece, id])),
      merges,
    },
    ...changes,
  };
}

const legacySpacing = {
  normalizer: {
    type: "Sequence",
    normalizers: [
      { type: "Prepend", prepend: "\u2581" },
      { type: "Replace", pattern: { String: " " }, content: "\u2581" },
    ],
  },
};
const metaspace = (fields: object) => ({
  pre_tokenizer: { type: "Metaspace", replacement: "\u2581", split: false, ...fields },
});

/** LLaMA 2's kind: the pieces of the SentencePiece fixture and the merges that make "\u2581\u2581" and "\u2581ab". */
function llama2Json(spacing: object, changes: object = {}) {
  const pieces = usualPieces(["\u2581", "a", "b", "ab", "\u2581ab", "\u2581\u2581"]).map((piece) => piece.text);
  return {
    added_tokens: [special(0, "<unk>"), special(1, "<s>"), special(2, "</s>"), { id: 265, content: "<tool>" }],
    normalizer: null,
    pre_tokenizer: null,
    ...spacing,
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: "\u2581" }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        { type: "Strip", content: " ", start: 1, stop: 0 },
      ],
    },
    model: {
      type: "BPE",
      unk_token: "<unk>",
      fuse_unk: true,
      byte_fallback: true,
      vocab: Object.fromEntries(pieces.map((piece, id) => [piece, id])),
      merges: ["a b", "\u2581 ab", "\u2581 \u2581"],
      ...changes,
    },
  };
}

async function open(json: object) {
  await writeFile(join(folder, "tokenizer.json"), JSON.stringify(json));
  return (await openTokenizer([folder])).tokenizer;
}

async function piecesOf(json: object, text: string) {
  const tokenizer = await open(json);
  return [...tokenizer.encode(text)].map((id) => tokenizer.piece(id));
}

describe("tokenizer.json of LLaMA 2's kind", () => {
  it("puts a mark in front of every section in the old layout, and doubles a leading space", async () => {
    const json = llama2Json(legacySpacing);
    expect(await piecesOf(json, "ab<tool>ab")).toEqual(["\u2581ab", "<tool>", "\u2581ab"]);
    expect(await piecesOf(json, " ab")).toEqual(["\u2581", "\u2581ab"]);
  });

  it("puts a mark in front of the text only in the new layout, unless it begins with a space", async () => {
    const json = llama2Json(metaspace({ prepend_scheme: "first" }));
    expect(await piecesOf(json, "ab<tool>ab")).toEqual(["\u2581ab", "<tool>", "ab"]);
    expect(await piecesOf(json, " ab")).toEqual(["\u2581ab"]);
    expect(await piecesOf(json, "<tool>ab")).toEqual(["<tool>", "ab"]);
  });

  it("follows the other schemes", async () => {
    expect(await piecesOf(llama2Json(metaspace({ prepend_scheme: "never" })), "ab")).toEqual(["ab"]);
    expect(await piecesOf(llama2Json(metaspace({ prepend_scheme: "always" })), "<tool>ab")).toEqual([
      "<tool>",
      "\u2581ab",
    ]);
    const words = llama2Json(metaspace({ prepend_scheme: "always", split: true }));
    expect(await piecesOf(words, "ab  ab")).toEqual(["\u2581ab", "\u2581", "\u2581ab"]);
    expect(await piecesOf(llama2Json(legacySpacing), "ab  ")).toEqual(["\u2581ab", "\u2581\u2581"]);
  });

  it("never reads a special token from text, and does not show one", async () => {
    const tokenizer = await open(llama2Json(legacySpacing));
    const ids = [...tokenizer.encode("a</s>")];
    expect(ids.filter((id) => id < 3)).toEqual([]);
    expect(tokenizer.decode([1, ...ids, 2])).toBe("a</s>");
  });

  it("takes one leading space off the text, and streams bytes as characters", async () => {
    const tokenizer = await open(llama2Json(metaspace({ prepend_scheme: "first" })));
    const decoder = tokenizer.decoder();
    const ids = [...tokenizer.encode("ab 中")];
    expect(ids.map((id) => decoder.push(id))).toEqual(["ab", " ", "", "", "中"]);
    expect(tokenizer.decode([3 + 0x20, ...ids])).toBe(" ab 中");
  });

  it("gives one unknown token for a run of them without byte fallback", async () => {
    const json = llama2Json(legacySpacing, { byte_fallback: false });
    expect(await piecesOf(json, "axyb")).toEqual(["\u2581", "a", "<unk>", "b"]);
  });
});

describe("tokenizer.json of LLaMA 3's kind", () => {
  it("merges the bytes of each word by the order of the merges", async () => {
    const json = llama3Json([
      ["l", "l"],
      ["h", "e"],
      ["he", "ll"],
      ["\u0120", "he"],
    ]);
    // In the second word the lower merge "he" + "ll" comes before "\u0120" + "he".
    expect(await piecesOf(json, "hell hell")).toEqual(["hell", "\u0120", "hell"]);
  });

  it("emits a whole word that is a piece, whatever the merges say", async () => {
    expect(await piecesOf(llama3Json([["a", "b"]], ["abc"]), "abc abd")).toEqual(["abc", "\u0120", "ab", "d"]);
  });

  it.each([
    ["contractions in any case", "I'LL he's it'\u017fx", ["I", "'LL", " he", "'s", " it", "'\u017f", "x"]],
    ["numbers in threes", "1234567", ["123", "456", "7"]],
    ["marks with the letters after them", "(abc) ...def", ["(abc", ")", " ...", "def"]],
    ["line ends together", "a.\n\n  \n b", ["a", ".\n\n", "  \n", " b"]],
    ["the last space with the next word", "a   b", ["a", "  ", " b"]],
    [
      "Unicode's spaces, not JavaScript's",
      "a\u0085\u0085b\ufeff\ufeffc",
      ["a", "\u0085", "\u0085b", "\ufeff\ufeff", "c"],
    ],
  ])("splits as the published pattern does: %s", async (_, text, words) => {
    // Each word is one piece, so the ids show where the text was split.
    const spelled = [...new Set(words.map((word) => spell(Buffer.from(word))))];
    const json = llama3Json(
      [],
      spelled.filter((word) => word.length > 1),
    );
    expect(await piecesOf(json, text)).toEqual(words.map((word) => spell(Buffer.from(word))));
  });

  it("streams characters whole and hides special tokens", async () => {
    const tokenizer = await open(llama3Json([["a", "b"]]));
    const ids = [tokenizer.bosId!, ...tokenizer.encode("ab 中😀"), tokenizer.eosId];
    const decoder = tokenizer.decoder();
    expect(ids.map((id) => decoder.push(id)).join("|")).toBe("|ab| |||中||||😀|");
    expect(tokenizer.decode(ids)).toBe("ab 中😀");
  });

  it("takes the special tokens that tokenizer_config.json names", async () => {
    const json = llama3Json([]);
    json.added_tokens.push(special(258, "<|eot_id|>"));
    await writeFile(
      join(folder, "tokenizer_config.json"),
      '{"bos_token": {"content": "<|begin_of_text|>"}, "eos_token": "<|eot_id|>"}',
    );
    const tokenizer = await open(json);
    expect([tokenizer.bosId, tokenizer.eosId]).toEqual([256, 258]);
  });
});

describe("what stands before a text", () => {
  const template = {
    type: "TemplateProcessing",
    single: [{ SpecialToken: { id: "<|begin_of_text|>" } }, { Sequence: { id: "A" } }],
  };
  const names = '"bos_token": "<|other|>", "eos_token": "<|end_of_text|>"';
  it.each([
    ["nothing, as Qwen and SmolLM2 have it", '"add_bos_token": false', template, null],
    ["what the template has", "", template, 256],
    ["what the template in a sequence has", "", { type: "Sequence", processors: [template] }, 256],
    ["what tokenizer_config.json names", '"add_bos_token": true', null, 258],
    ["nothing where no file says it", "", { type: "ByteLevel" }, null],
    ["what the class of LLaMA adds", '"tokenizer_class": "LlamaTokenizerFast"', null, 258],
  ])("is %s", async (_, field, postProcessor, bosId) => {
    const json = { ...llama3Json([]), post_processor: postProcessor };
    json.added_tokens.push(special(258, "<|other|>"));
    await writeFile(join(folder, "tokenizer_config.json"), `{${field === "" ? names : `${names}, ${field}`}}`);
    expect((await open(json)).bosId).toBe(bosId);
  });

  it("is there without the end token that add_eos_token asks for, which is said", async () => {
    await writeFile(join(folder, "tokenizer_config.json"), '{"add_eos_token": true}');
    await writeFile(join(folder, "tokenizer.json"), JSON.stringify(llama3Json([])));
    const { tokenizer, warnings } = await openTokenizer([folder]);
    expect(warnings).toEqual([expect.stringContaining('"add_eos_token" changes nothing')]);
    expect([...tokenizer.encode("a")]).not.toContain(tokenizer.eosId);
  });
});

describe("ids between texts", () => {
  it("take the white space that their tokens take", async () => {
    const json = llama3Json([]);
    json.added_tokens.push({ ...special(258, "<|x|>"), lstrip: true, rstrip: true } as never);
    const tokenizer = await open(json);
    expect([...tokenizer.encode(["a ", 258, "\n b"])]).toEqual([
      ...tokenizer.encode("a"),
      258,
      ...tokenizer.encode("b"),
    ]);
    expect([...tokenizer.encode(new SpecialNames(tokenizer.specialTokens).split("a <|x|> b"))]).toEqual([
      ...tokenizer.encode("a"),
      258,
      ...tokenizer.encode("b"),
    ]);
  });

  it("begin a new text with prepend_scheme always, and go on with first", async () => {
    const first = await open(llama2Json(metaspace({ prepend_scheme: "first" })));
    expect([...first.encode(["ab", 2, "ab"])]).toEqual([263, 2, 262]);
    expect([...first.encode([1, "ab"])]).toEqual([1, 262]);
    const every = await open(llama2Json(legacySpacing));
    expect([...every.encode([1, "ab", 2, "ab"])]).toEqual([1, 263, 2, 263]);
  });
});

describe("LLaMA 3's own tokenizer.model", () => {
  const tokens = [
    ...Array.from({ length: 256 }, (_, byte) => Uint8Array.of(byte)),
    Buffer.from("he"),
    Buffer.from("ll"),
    Buffer.from("hell"),
  ];
  const lines = tokens.map((token, rank) => `${Buffer.from(token).toString("base64")} ${rank}\n`);

  it("merges by rank and has its special tokens after the ranks", async () => {
    await writeFile(join(folder, "tokenizer.model"), lines.join(""));
    const { tokenizer } = await openTokenizer([folder]);
    expect([...tokenizer.encode("hell helo")]).toEqual([258, 0x20, 256, 0x6c, 0x6f]);
    expect([tokenizer.bosId, tokenizer.eosId, tokenizer.vocabSize]).toEqual([259, 260, 515]);
    expect(tokenizer.piece(259 + 9)).toBe("<|eot_id|>");
    expect(tokenizer.decode([259, 258, 268])).toBe("hell");
  });

  it("is refused when a line is damaged", async () => {
    await writeFile(join(folder, "tokenizer.model"), lines.with(7, "AAA= 8\n").join(""));
    await expect(openTokenizer([folder])).rejects.toThrow(/tokenizer\.model: line 8 is no new token with rank 7/);
  });
});

describe("choosing and refusing tokenizer files", () => {
  it("prefers tokenizer.model to tokenizer.json", async () => {
    await writeFile(join(folder, "tokenizer.model"), modelFile(usualPieces(["\u2581"])));
    expect((await open(llama3Json([]))).vocabSize).toBe(260);
  });

  it.each([
    ["another model", { model: { type: "Unigram", vocab: [] } }, "TOKENIZER_UNSUPPORTED", '"Unigram"'],
    [
      "a pattern that is not regular",
      { pre_tokenizer: { type: "Sequence", pretokenizers: [{ ...split, pattern: { Regex: "(a)\\1" } }, byteLevel] } },
      "TOKENIZER_UNSUPPORTED",
      '"(a)\\\\1" (\\1)',
    ],
    ["another normaliser", { normalizer: { type: "Precompiled" } }, "TOKENIZER_UNSUPPORTED", '"Precompiled"'],
    ["another pre-tokeniser", { pre_tokenizer: { type: "Nmt" } }, "TOKENIZER_UNSUPPORTED", '"Nmt"'],
    ["another decoder", { decoder: { type: "CTC" } }, "TOKENIZER_UNSUPPORTED", '"CTC"'],
    ["no merges", { model: { type: "BPE", vocab: { a: 0 } } }, "TOKENIZER_CORRUPT", "merges"],
    [
      "a merge of unknown pieces",
      { model: { type: "BPE", vocab: { a: 0 }, merges: [["a", "b"]] } },
      "TOKENIZER_CORRUPT",
      "merge 0",
    ],
    [
      "an id given twice",
      { model: { type: "BPE", vocab: { a: 0, b: 0 }, merges: [] } },
      "TOKENIZER_CORRUPT",
      "two pieces",
    ],
    [
      "an id out of range",
      { model: { type: "BPE", vocab: { a: 1e12 }, merges: [] } },
      "TOKENIZER_CORRUPT",
      "1000000000000",
    ],
    ["no end-of-text token", { added_tokens: [] }, "TOKENIZER_UNSUPPORTED", "<|end_of_text|>"],
  ])("refuses by name: %s", async (_, changes, code, text) => {
    await expect(open(llama3Json([], [], changes))).rejects.toMatchObject({
      code,
      message: expect.stringContaining(text),
    });
  });

  it("refuses a file that is not JSON, and one that a failed download left", async () => {
    const file = join(folder, "tokenizer.json");
    await writeFile(file, "{");
    await expect(openTokenizer([folder])).rejects.toMatchObject({ code: "TOKENIZER_CORRUPT" });
    await writeFile(file, "version https://git-lfs.github.com/spec/v1\n");
    await expect(openTokenizer([folder])).rejects.toThrow("Git LFS pointer");
  });
});

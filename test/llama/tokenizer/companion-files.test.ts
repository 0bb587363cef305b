import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SpecialNames } from "../../../src/llama/prompt/special-names.ts";
import { openTokenizer } from "../../../src/llama/tokenizer/index.ts";
import { pieceTypes } from "../../../src/llama/tokenizer/sentencepiece-model.ts";
import { modelFile, usualPieces } from "./sentencepiece-fixture.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "tokenizer-"));
  const pieces = usualPieces(
    ["\u2581", "a", "b", "ab", "\u2581ab"],
    [{ text: "<tool>", type: pieceTypes.userDefined }],
  );
  await writeFile(join(folder, "tokenizer.model"), modelFile(pieces));
});
afterEach(() => rm(folder, { recursive: true }));

const write = (name: string, value: object) => writeFile(join(folder, name), JSON.stringify(value));

/** 259 is the space mark, 262 "ab", 263 "\u2581ab", 264 "<tool>". */
describe("beside a tokenizer.model", () => {
  it("added_tokens.json has pieces behind the model's; the special ones are not read from text", async () => {
    await write("added_tokens.json", { "[PAD]": 265, "<turn>": 266 });
    await write("special_tokens_map.json", { pad_token: { content: "[PAD]" }, eos_token: "</s>" });
    const { tokenizer } = await openTokenizer([folder]);
    expect(tokenizer.vocabSize).toBe(267);
    expect(tokenizer.specialTokens.get("[PAD]")).toBe(265);
    expect([...tokenizer.encode("ab<turn>ab")]).toEqual([263, 266, 263]);
    expect([...tokenizer.encode("ab[PAD]")]).not.toContain(265);
    expect([...tokenizer.encode(new SpecialNames(tokenizer.specialTokens).split("ab[PAD]"))]).toEqual([263, 265]);
    expect(tokenizer.decode([263, 265, 266])).toBe("ab<turn>");
    expect([265, 266].map((id) => tokenizer.piece(id))).toEqual(["[PAD]", "<turn>"]);
  });

  it("added tokens past the embeddings are left out, which is said", async () => {
    await write("added_tokens.json", { "<pad>": 265 });
    const { tokenizer, warnings } = await openTokenizer([folder], 265);
    expect(tokenizer.vocabSize).toBe(265);
    expect(warnings).toEqual([expect.stringContaining('added token "<pad>" ignored: 265 is past 265 embeddings')]);
  });

  it("tokenizer_config.json says which tokens begin and end a text, and whether one begins it", async () => {
    await write("tokenizer_config.json", {
      eos_token: "<|im_end|>",
      add_bos_token: false,
      added_tokens_decoder: { 265: { content: "<|im_end|>", special: true } },
    });
    const { tokenizer } = await openTokenizer([folder]);
    expect([tokenizer.bosId, tokenizer.eosId]).toEqual([null, 265]);
  });

  it("legacy: false puts the space in front of the first text only, and of none behind a special token", async () => {
    const input = ["ab", 2, "ab"];
    expect([...(await openTokenizer([folder])).tokenizer.encode(input)]).toEqual([263, 2, 263]);
    await write("tokenizer_config.json", { legacy: false });
    const { tokenizer } = await openTokenizer([folder]);
    expect([...tokenizer.encode(input)]).toEqual([263, 2, 262]);
    expect([...tokenizer.encode([1, "ab"])]).toEqual([1, 262]);
    await write("tokenizer_config.json", { legacy: false, add_prefix_space: false });
    expect([...(await openTokenizer([folder])).tokenizer.encode("ab")]).toEqual([262]);
  });

  it("user-defined pieces are taken whole, control pieces never", async () => {
    const { tokenizer } = await openTokenizer([folder]);
    expect([...tokenizer.encode("<tool>ab")]).toEqual([259, 264, 262]);
    for (const text of ["</s>", "<s>ab</s>", "<</s>/s>", "<unk>"]) {
      expect([...tokenizer.encode(text)].filter((id) => id < 3)).toEqual([]);
      expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
    }
  });

  it.each([
    ["tokenizer_config.json", { added_tokens_decoder: { x: { content: "a" } } }, '"x" gives no token'],
    ["tokenizer_config.json", { added_tokens_decoder: { 265: { content: 1 } } }, '"265" gives no token'],
    ["added_tokens.json", { "<pad>": "265" }, '"<pad>" gives no token'],
    ["added_tokens.json", { "<pad>": 1e9 }, '"<pad>" gives no token'],
  ])("%s is refused where it gives no token and id: %j", async (name, value, message) => {
    await write(name, value);
    await expect(openTokenizer([folder])).rejects.toMatchObject({
      code: "TOKENIZER_CORRUPT",
      message: expect.stringContaining(message),
    });
  });

  it("a file that is no JSON is refused by name", async () => {
    await writeFile(join(folder, "special_tokens_map.json"), "{");
    await expect(openTokenizer([folder])).rejects.toThrow(/special_tokens_map\.json: not valid JSON/);
  });
});

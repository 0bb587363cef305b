import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { PromptTemplates } from "../../src/llama/prompt/index.ts";
import { openTokenizer, sentencePieceTokenizer, type Tokenizer } from "../../src/llama/tokenizer/index.ts";
import { pieceTypes } from "../../src/llama/tokenizer/sentencepiece-model.ts";
import { encodeRows } from "../../src/training/examples.ts";
import type { InstructionRow } from "../../src/training/index.ts";
import { modelFile, usualPieces } from "../llama/tokenizer/sentencepiece-fixture.ts";

const marks = ["<|im_start|>", "<|im_end|>"].map((text) => ({ text, type: pieceTypes.control }));
const pieces = [..."▁abcdefghijklmnopqrstuvwxyz:[]/", "▁a", "]b", ":b", "nb"];
const sentencePiece = sentencePieceTokenizer(modelFile(usualPieces(pieces, marks)), "tokenizer.model");
const { tokenizer: tiny } = await openTokenizer([join(import.meta.dirname, "../../weights/tiny")]);
const row = (instruction: string, output: string, input = ""): InstructionRow => ({
  instruction,
  input,
  output,
  source: { file: "data.json", number: 1, unit: "record" },
});

async function encoded(tokenizer: Tokenizer, name: string, item: InstructionRow, changes: object = {}) {
  const templates = new PromptTemplates({ tokenizer, chatTemplate: changes && (changes as { own?: string }).own });
  const template = await templates.choose({ name });
  const options = { template, cutoff: 200, context: 512, train_on_inputs: false, ...changes };
  const [{ example, lost }] = (await encodeRows([item], tokenizer, options)) as [
    Awaited<ReturnType<typeof encodeRows>>[0],
  ];
  return { ...example, lost, template };
}

const shown = (tokenizer: Tokenizer, ids: Int32Array) => [...ids].map((id) => tokenizer.piece(id)).join("");

describe("a row in a chat template", () => {
  it("learns its answer and the token that ends it in the template", async () => {
    const { tokens, masked, targets } = await encoded(sentencePiece, "chatml", row("abc", "def", "ghi"));
    const end = sentencePiece.specialTokens.get("<|im_end|>")!;
    expect(tokens.at(-1)).toBe(end);
    expect([tokens[0], [...tokens].filter((id) => id === 1).length]).toEqual([1, 1]);
    // SentencePiece puts a space before each text between tokens.
    expect(sentencePiece.decode(tokens.subarray(0, masked))).toBe("user\nabc\nghi \n assistant\n");
    expect(sentencePiece.decode(tokens.subarray(masked))).toBe("def");
    expect(targets).toBe(tokens.length - masked);
  });

  it("has the tokens of the prompt before those of the answer, also where they would merge", async () => {
    const own =
      "{{ messages[0].content }}{% if messages | length > 1 %}{{ messages[1].content + eos_token }}{% endif %}";
    for (const [instruction, output] of [
      ["aaa:", "bcd"],
      ["x]", "b"],
      ["n", "b\n"],
      ["aaa", " a"],
      ["", "abc"],
    ] as const) {
      const { tokens, masked } = await encoded(sentencePiece, "chat", row(instruction, output), { own });
      const prompt = [1, ...sentencePiece.encode(instruction)];
      expect([...tokens.subarray(0, masked)]).toEqual(prompt);
      expect(shown(sentencePiece, tokens.subarray(masked)).replaceAll("▁", " ").replace("<0x0A>", "\n")).toMatch(
        instruction === "" ? `${output}</s>` : new RegExp(`^${output.replace("\n", "\\n")}</s>$`),
      );
    }
  });

  it("has one BOS where the template writes it, and LLaMA 2's spaces around the answer", async () => {
    for (const tokenizer of [sentencePiece, tiny]) {
      const { tokens, masked } = await encoded(tokenizer, "llama-2", row("where is it", " here \n"));
      expect(tokenizer.decode(tokens)).toMatch(/^\[INST\] where is it \[\/INST\] here $/);
      expect([...tokens].filter((id) => id === tokenizer.bosId)).toHaveLength(1);
      expect(tokenizer.decode(tokens.subarray(masked)).trim()).toBe("here");
      expect(tokens.at(-1)).toBe(tokenizer.eosId);
    }
  });

  it("never takes special tokens from its texts", async () => {
    const item = row("<|im_end|>\n<|im_start|>system", "</s><|im_start|> a", "<|im_");
    const { tokens } = await encoded(sentencePiece, "chatml", item);
    const special = [...tokens].filter((id) => [...sentencePiece.specialTokens.values()].includes(id));
    const [start, end] = [...marks.map(({ text }) => sentencePiece.specialTokens.get(text)!)];
    expect(special.filter((id) => id !== 0)).toEqual([1, start, end, start, end]);
  });

  it("that is cut does not learn to stop, and one whose prompt fills the cutoff has lost its answer", async () => {
    const { tokens } = await encoded(sentencePiece, "chatml", row("abc", "defghi"));
    const cut = await encoded(sentencePiece, "chatml", row("abc", "defghi"), { cutoff: tokens.length - 1 });
    expect([cut.lost, [...cut.tokens]]).toEqual(["end", [...tokens.subarray(0, -1)]]);
    const { masked } = cut;
    const lost = await encoded(sentencePiece, "chatml", row("abc", "defghi"), { cutoff: masked });
    expect([lost.lost, lost.targets]).toEqual(["answer", 0]);
  });
});

describe("the data sets of examples/", () => {
  it("are encoded by alpaca as by the words of its text", async () => {
    const rows: InstructionRow[] = JSON.parse(
      readFileSync(join(import.meta.dirname, "../../examples/chinese-20.json"), "utf8"),
    );
    for (const item of rows.slice(0, 5)) {
      const { tokens } = await encoded(tiny, "auto", { ...item, input: item.input ?? "" });
      expect(tiny.decode(tokens)).toContain(`### Instruction:\n${item.instruction}\n\n### Response:\n${item.output}`);
    }
  });
});

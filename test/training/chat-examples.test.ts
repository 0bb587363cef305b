import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { PromptTemplates } from "../../src/llama/prompt/index.ts";
import { openTokenizer, sentencePieceTokenizer, type Tokenizer } from "../../src/llama/tokenizer/index.ts";
import { pieceTypes } from "../../src/llama/tokenizer/sentencepiece-model.ts";
import type { ConversationRow } from "../../src/training/dataset/row.ts";
import { encodeRows } from "../../src/training/encoding/encode-rows.ts";
import { rangesOf } from "../../src/training/examples.ts";
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
  const [{ examples, lost }] = (await encodeRows([item], tokenizer, options)) as [
    Awaited<ReturnType<typeof encodeRows>>[0],
  ];
  const [example] = examples;
  return { ...example!, masked: example?.learnt[0] ?? 0, examples: examples.length, lost, template };
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
    expect([lost.lost, lost.examples]).toEqual(["answer", 0]);
  });
});

describe("a conversation", () => {
  const source = { file: "data.json", number: 7, unit: "record" } as const;
  const conversation = (contents: readonly string[], system: string | null = null): ConversationRow => ({
    system,
    turns: contents.map((content, i) => ({ role: i % 2 === 0 ? "user" : "assistant", content })),
    source,
  });
  const long = conversation(["abc", "def", "ghi", "", "jkl", "mno"], "pqr");
  const encodeConversation = async (item: ConversationRow, changes: object = {}, name = "chatml") => {
    const { own } = changes as { own?: string };
    const template = await new PromptTemplates({ tokenizer: sentencePiece, chatTemplate: own }).choose({ name });
    const options = { template, cutoff: 400, context: 512, train_on_inputs: false, ...changes };
    return { ...(await encodeRows([item], sentencePiece, options))[0]!, template };
  };
  /** What the model is given for the answer at this place. */
  const prompt = async (
    template: Awaited<ReturnType<PromptTemplates["choose"]>>,
    { system, turns }: ConversationRow,
    place: number,
  ) => {
    const [input] = await template.render([{ system, turns: turns.slice(0, place), input: "" }]);
    return [1, ...sentencePiece.encode(input!)];
  };

  it.each(["chatml", "llama-2"])(
    "learns every answer and its end behind what the model is asked with (%s)",
    async (name) => {
      const { examples, answers, lost, template } = await encodeConversation(long, {}, name);
      expect([examples.length, answers, lost]).toEqual([1, 3, "nothing"]);
      const [{ tokens, ...example }] = examples as [(typeof examples)[0]];
      const ranges = [...rangesOf(example)];
      const end = template.answer.endId;
      for (const [i, [start, stop]] of ranges.entries()) {
        expect([...tokens.subarray(0, start)]).toEqual(await prompt(template, long, 2 * i + 1));
        expect(tokens[stop - 1]).toBe(end);
        expect(sentencePiece.decode(tokens.subarray(start, stop)).trim()).toBe(["def", "", "mno"][i]);
      }
      expect(ranges.length).toBe(3);
      expect(example.targets).toBe(ranges.reduce((sum, [start, stop]) => sum + stop - start, 0));
    },
  );

  it("is learnt whole with train_on_inputs", async () => {
    const { examples } = await encodeConversation(long, { train_on_inputs: true });
    const { examples: masked } = await encodeConversation(long);
    expect([...examples[0]!.learnt]).toEqual([1, examples[0]!.tokens.length]);
    expect(examples[0]!.tokens).toEqual(masked[0]!.tokens);
  });

  it("that is cut keeps the answers that fit, and no prompt behind the last of them", async () => {
    const [whole] = (await encodeConversation(long)).examples;
    const ranges = [...rangesOf(whole!)];
    const cut = await encodeConversation(long, { cutoff: ranges[2]![0] });
    expect([cut.lost, cut.answers, cut.lostAnswers, cut.length]).toEqual(["end", 3, 1, whole!.tokens.length]);
    expect(cut.examples[0]!.tokens).toEqual(whole!.tokens.subarray(0, ranges[1]![1]));
    expect([...rangesOf(cut.examples[0]!)]).toEqual(ranges.slice(0, 2));
    const none = await encodeConversation(long, { cutoff: ranges[0]![0] });
    expect([none.lost, none.lostAnswers, none.examples]).toEqual(["answer", 3, []]);
  });

  it("is one example for each answer where the template forgets earlier turns", async () => {
    const own =
      "{% for m in messages %}{% if m.role == 'user' %}{{ '<|im_start|>' + m.content }}" +
      "{% elif loop.last %}{{ '[think]' + m.content + '<|im_end|>' }}{% else %}{{ m.content + '<|im_end|>' }}{% endif %}{% endfor %}";
    const { examples, answers, template } = await encodeConversation(long, { own }, "chat");
    expect([examples.length, answers]).toEqual([3, 3]);
    for (const [i, { tokens, learnt }] of examples.entries()) {
      expect([...tokens.subarray(0, learnt[0])]).toEqual(await prompt(template, long, 2 * i + 1));
      expect([...learnt]).toEqual([learnt[0], tokens.length]);
      expect(sentencePiece.decode(tokens.subarray(learnt[0])).trim()).toBe(`[think]${["def", "", "mno"][i]}`);
    }
  });

  it("does not learn what an assistant says before anybody has asked", async () => {
    const greeted: ConversationRow = {
      ...long,
      system: null,
      turns: [{ role: "assistant", content: "hello" }, ...long.turns],
    };
    const { examples, answers } = await encodeConversation(greeted);
    expect(answers).toBe(3);
    expect(sentencePiece.decode(examples[0]!.tokens.subarray(0, examples[0]!.learnt[0]))).toContain("hello");
  });

  it("of one turn is an instruction to a template for one; several are refused with the row and the way out", async () => {
    const templates = new PromptTemplates({ tokenizer: sentencePiece });
    const options = {
      template: await templates.choose({ name: "alpaca" }),
      cutoff: 400,
      context: 512,
      train_on_inputs: false,
    };
    const [one] = await encodeRows([conversation(["abc", "def"])], sentencePiece, options);
    const [same] = await encodeRows([{ ...row("abc", "def"), source }], sentencePiece, options);
    expect(one).toEqual(same);
    const refused = encodeRows([row("abc", "def"), long], sentencePiece, options);
    await expect(refused).rejects.toMatchObject({
      code: "PROMPT_MESSAGES",
      message: expect.stringMatching(
        /^data\.json, record 7: the prompt template "alpaca" has no place for a system prompt/,
      ),
      hint: expect.stringContaining("prompt_template_name=chatml"),
    });
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

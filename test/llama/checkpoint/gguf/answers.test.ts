import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openCheckpoint } from "../../../../src/llama/checkpoint/index.ts";
import { Llama } from "../../../../src/llama/index.ts";
import { answer, weights as embedded, readQuestions } from "../../../weights/embedded-base.ts";
import { embeddedAsGguf, writeGguf } from "./gguf-file.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "gguf-answers-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe("a GGUF file of the embedded model", () => {
  it("answers word for word as the folder does, and is said to be what it is", async () => {
    const file = writeGguf(join(folder, "llama.bf16.gguf"), await embeddedAsGguf());
    const lines: string[] = [];
    const options = { log: (line: string) => lines.push(line) };
    const fromFile = await Llama.load({ weights: file, ...options });
    const fromFolder = await Llama.load({ weights: embedded, ...options });
    expect(lines[0]).toBe(
      "model: Tiny-1.9M (file llama.bf16.gguf), 1.9 M parameters, bf16, context 512, SentencePiece of 1,600 pieces",
    );
    expect(fromFile.checkpoint.warnings).toEqual([]);
    for (const question of readQuestions("weights/tiny/questions.json").slice(0, 3)) {
      const text = await answer(fromFile, question);
      expect(text).toBe(await answer(fromFolder, question));
      expect(text).not.toBe("");
    }
    await Promise.all([fromFile.close(), fromFolder.close()]);
  });

  it("gives its chat template, the ids that end an answer, and a name that is no path", async () => {
    const file = writeGguf(
      join(folder, "llama.gguf"),
      await embeddedAsGguf([["general.name", ["string", "/home/me/models/7B"]]]),
    );
    expect(await openCheckpoint(file)).toMatchObject({
      folder,
      file,
      name: "llama",
      publishedName: null,
      chatTemplate: "{{ messages[0].content }}",
      templateTexts: { bos_token: "<s>", eos_token: "</s>", unk_token: "<unk>" },
      bosTokenId: 1,
      eosTokenIds: [2],
      tokenizerKind: "SentencePiece",
    });
  });

  it("is refused without a tokenizer", async () => {
    const { metadata, tensors } = await embeddedAsGguf();
    const bare = metadata.filter(([key]) => !key.startsWith("tokenizer."));
    const file = writeGguf(join(folder, "llama.gguf"), { metadata: bare, tensors });
    const error = await openCheckpoint(file).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: "TOKENIZER_NOT_FOUND", message: expect.stringContaining(file) });
  });
});

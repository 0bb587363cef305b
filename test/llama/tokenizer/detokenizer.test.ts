import { describe, expect, it } from "vitest";
import { type Detokenization, decodeAll, streamDecoder } from "../../../src/llama/tokenizer/detokenizer.ts";
import { sentencePieceTokenizer } from "../../../src/llama/tokenizer/sentencepiece.ts";
import { modelFile, usualPieces } from "./sentencepiece-fixture.ts";

const tokenizer = sentencePieceTokenizer(
  modelFile(usualPieces(["\u2581", "\u2581hello", "\u2581you", "x"])),
  "tokenizer.model",
);
const [space, hello, you, x] = [259, 260, 261, 262] as const;
const byteIds = (text: string) => [...Buffer.from(text)].map((byte) => byte + 3);

function streamed(ids: readonly number[], promptIds: readonly number[] = []): string[] {
  const decoder = tokenizer.decoder(promptIds);
  return [...ids.map((id) => decoder.push(id)), decoder.flush()];
}

/** SentencePiece's rule written down once more, on whole runs of bytes. */
function reference(ids: readonly number[]): string {
  let text = "";
  let first = true;
  for (let i = 0; i < ids.length; ) {
    const id = ids[i]!;
    if (id >= 3 && id < 259) {
      const run: number[] = [];
      while (i < ids.length && ids[i]! >= 3 && ids[i]! < 259) run.push(ids[i++]! - 3);
      text += decodeRun(run);
      first = false;
    } else {
      i++;
      if (id === 0) text += " \u2047 ";
      else if (id > 2) text += first ? tokenizer.piece(id)!.replace("\u2581", "") : tokenizer.piece(id)!;
      first &&= id === 1 || id === 2;
    }
  }
  return text.replaceAll("\u2581", " ");
}

function decodeRun(run: readonly number[]): string {
  let text = "";
  for (let at = 0; at < run.length; ) {
    const length = [1, 2, 3, 4].find((n) => isCharacter(run.slice(at, at + n)) && at + n <= run.length);
    text += length === undefined ? "\ufffd" : Buffer.from(run.slice(at, at + length)).toString();
    at += length ?? 1;
  }
  return text;
}

function isCharacter(some: readonly number[]): boolean {
  try {
    return [...new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(some))].length === 1;
  } catch {
    return false;
  }
}

describe("decoding token by token", () => {
  it("shows a character with the token that completes it", () => {
    expect(streamed([x, ...byteIds("中"), ...byteIds("😀")])).toEqual(["x", "", "", "中", "", "", "", "😀", ""]);
  });

  it("shows bytes that are no character as U+FFFD, each one, as soon as that is certain", () => {
    const [lead, second] = byteIds("中") as [number, number, number];
    expect(streamed([lead, second, x])).toEqual(["", "", "\ufffd\ufffdx", ""]);
    expect(streamed([second, x])).toEqual(["\ufffd", "x", ""]);
    expect(streamed([lead, ...byteIds("é"), x])).toEqual(["", "\ufffd", "é", "x", ""]);
    expect(streamed([lead, second])).toEqual(["", "", "\ufffd\ufffd"]);
  });

  it("drops one leading space of the first piece only", () => {
    expect(streamed([1, hello, you])).toEqual(["", "hello", " you", ""]);
    expect(streamed([space, hello])).toEqual(["", " hello", ""]);
    expect(streamed([...byteIds("a"), hello])).toEqual(["a", " hello", ""]);
    expect(streamed([byteIds("中")[0]!, hello])).toEqual(["", "\ufffd hello", ""]);
  });

  it("keeps the leading space of a continuation", () => {
    expect(streamed([you], [1, hello])).toEqual([" you", ""]);
    expect(streamed([you], [1])).toEqual(["you", ""]);
  });

  it("shows a character that the prompt began, and never the replacement of the prompt's own bytes", () => {
    const [lead, second, third] = byteIds("中") as [number, number, number];
    expect(streamed([second, third], [hello, lead])).toEqual(["", "中", ""]);
    expect(streamed([x], [hello, lead, second])).toEqual(["x", ""]);
    expect(streamed([second, x], [hello, lead])).toEqual(["", "\ufffdx", ""]);
  });

  it("joined is the whole decode, for random ids and however broken the bytes", () => {
    let state = 99;
    const next = (bound: number) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return (state >>> 8) % bound;
    };
    const interesting = [
      0x20, 0x41, 0x80, 0x9f, 0xa0, 0xbf, 0xc0, 0xc3, 0xe0, 0xe4, 0xed, 0xef, 0xf0, 0xf4, 0xf5, 0xff,
    ];
    for (let round = 0; round < 3000; round++) {
      const ids = Array.from({ length: next(12) }, () =>
        next(3) === 0 ? [0, 1, 2, space, hello, you, x][next(7)]! : interesting[next(interesting.length)]! + 3,
      );
      const whole = reference(ids);
      expect(tokenizer.decode(ids)).toBe(whole);
      expect(streamed(ids).join("")).toBe(whole);
      // A prompt's text and its continuation are the whole, where the cut is not inside a character.
      const cut = next(ids.length + 1);
      const parts = tokenizer.decode(ids.slice(0, cut)) + streamed(ids.slice(cut), ids.slice(0, cut)).join("");
      const completed = !whole.startsWith(tokenizer.decode(ids.slice(0, cut)));
      if (!completed) expect(parts).toBe(whole);
    }
  });

  it("replaces the longest beginning of a character once for byte-level vocabularies, as TextDecoder does", () => {
    const rules: Detokenization = {
      surface: (id) => Uint8Array.of(id),
      beginsWithSpaceMark: () => false,
      leadingSpace: "none",
      replacement: "subpart",
      hiddenEndsRun: false,
    };
    let state = 5;
    for (let round = 0; round < 3000; round++) {
      const ids = Array.from({ length: 8 }, () => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        return [0x41, 0x80, 0x90, 0xa0, 0xbf, 0xc3, 0xe0, 0xe4, 0xed, 0xf0, 0xf4, 0xff][(state >>> 8) % 12]!;
      });
      const whole = new TextDecoder().decode(Uint8Array.from(ids));
      expect(decodeAll(rules, ids)).toBe(whole);
      const decoder = streamDecoder(rules);
      expect(ids.map((id) => decoder.push(id)).join("") + decoder.flush()).toBe(whole);
    }
  });
});

import type { StreamDecoder } from "./tokenizer.ts";
import { codePointAt, measureUtf8 } from "./utf8.ts";

/** What a token shows: text, raw bytes that join with their neighbours to characters, or nothing (null). */
export type Surface = string | Uint8Array | null;

/** The rules by which the surfaces of a vocabulary become text. */
export interface Detokenization {
  surface(id: number): Surface;
  /**
   * Who loses one leading space: "piece", the first shown token if it is a text piece that began with the space mark
   * (SentencePiece); "text", the text itself (Hugging Face's Strip decoder); "none".
   */
  readonly leadingSpace: "piece" | "text" | "none";
  /** The same for the first token that is shown; undefined: as any other. */
  firstSurface?(id: number): Surface;
  /** Between the texts of two tokens. */
  readonly separator?: string;
  /** Whether `id` is a text piece that begins with the space mark; asked for leadingSpace "piece" only. */
  beginsWithSpaceMark(id: number): boolean;
  /** A byte that is no character: one U+FFFD for each byte, or one for the longest beginning of a character. */
  readonly replacement: "byte" | "subpart";
  /** A token that shows nothing ends a run of bytes. */
  readonly hiddenEndsRun: boolean;
}

/** The longest part of a character that can be unfinished is 3 bytes. */
const longestCharacter = 4;

/** The state between two tokens: nothing shown yet?, and the bytes of an unfinished character. */
class Detokenizer implements StreamDecoder {
  readonly #rules: Detokenization;
  readonly #pending = new Uint8Array(longestCharacter);
  #pendingLength = 0;
  /** How many of the pending bytes the prompt brought: their U+FFFD is part of the prompt's text, not of ours. */
  #promptBytes = 0;
  #atStart = true;
  #isFirst = true;

  constructor(rules: Detokenization, promptIds: Iterable<number>) {
    this.#rules = rules;
    for (const id of promptIds) this.push(id);
    this.#promptBytes = this.#pendingLength;
  }

  push(id: number): string {
    const isFirst = this.#isFirst;
    const surface = isFirst && this.#rules.firstSurface ? this.#rules.firstSurface(id) : this.#rules.surface(id);
    if (surface === null) return this.#rules.hiddenEndsRun ? this.flush() : "";
    this.#isFirst = false;
    const before = isFirst ? "" : (this.#rules.separator ?? "");
    if (typeof surface === "string") return this.flush() + before + this.#withoutLeadingSpace(surface, id);
    let text = before;
    for (const byte of surface) {
      this.#pending[this.#pendingLength++] = byte;
      text += this.#takeComplete(false);
    }
    return this.#rules.leadingSpace === "text" ? this.#withoutLeadingSpace(text, id) : this.#shown(text);
  }

  flush(): string {
    return this.#shown(this.#takeComplete(true));
  }

  #shown(text: string): string {
    // A byte piece in first place uses up the privilege even while its character is unfinished.
    this.#atStart &&= text === "" && this.#pendingLength === 0;
    return text;
  }

  #withoutLeadingSpace(text: string, id: number): string {
    if (!this.#atStart || text === "") return text;
    this.#atStart = false;
    const { leadingSpace } = this.#rules;
    const drops = leadingSpace === "text" || (leadingSpace === "piece" && this.#rules.beginsWithSpaceMark(id));
    return drops && text.startsWith(" ") ? text.slice(1) : text;
  }

  /** Takes from the pending bytes every complete character; with `last`, everything. */
  #takeComplete(last: boolean): string {
    let text = "";
    let start = 0;
    while (start < this.#pendingLength) {
      const measured = measureUtf8(this.#pending, start, this.#pendingLength);
      if (measured > 0) {
        text += String.fromCodePoint(codePointAt(this.#pending, start, measured));
        start += measured;
        this.#promptBytes = 0;
        continue;
      }
      if (measured === 0 && !last) break;
      const subpart = measured === 0 ? this.#pendingLength - start : -measured;
      if (this.#promptBytes === 0) text += "\ufffd";
      const taken = this.#rules.replacement === "byte" ? 1 : subpart;
      start += taken;
      this.#promptBytes = Math.max(0, this.#promptBytes - taken);
    }
    this.#pending.copyWithin(0, start, this.#pendingLength);
    this.#pendingLength -= start;
    return text;
  }
}

export function streamDecoder(rules: Detokenization, promptIds: Iterable<number> = []): StreamDecoder {
  return new Detokenizer(rules, promptIds);
}

/** The text of `ids`, by the same state machine that streams it. */
export function decodeAll(rules: Detokenization, ids: Iterable<number>): string {
  const decoder = streamDecoder(rules);
  let text = "";
  for (const id of ids) text += decoder.push(id);
  return text + decoder.flush();
}

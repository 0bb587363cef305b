import { characterLength } from "./pair-table.ts";

/** The regular expression that LLaMA 3 splits words by, as its tokenizer.json spells it. */
export const llama3Pattern =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/** The characters with Unicode's White_Space property, which JavaScript's \s is not quite. */
const space = "\\t-\\r \\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";

/** The same in JavaScript, which has no (?i:) before Node 23; U+017F is an s without regard to case. */
const wordSource = [
  "'(?:[sS\\u017f]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD])",
  "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+",
  "\\p{N}{1,3}",
  ` ?[^${space}\\p{L}\\p{N}]+[\\r\\n]*`,
  `[${space}]*[\\r\\n]+`,
  `[${space}]+(?![^${space}])`,
  `[${space}]+`,
].join("|");

const letters = /^\p{L}*/u;
const symbols = new RegExp(`^[^${space}\\p{L}\\p{N}]*`, "u");
const newlines = /^[\r\n]*/;
const spaces = new RegExp(`^[${space}]*`, "u");
const letterAtEnd = /\p{L}$/u;
const newlineAtEnd = /[\r\n]$/;
const isSpaces = new RegExp(`^[${space}]*$`, "u");

/** UTF-16 units that a regular expression is given at a time: on a run of millions of letters it would overflow its stack. */
const windowLength = 8192;

/** The words of a well-formed text, in order; null is a pause inside a long one. */
export function* llama3Words(text: string): Generator<string | null, void> {
  const pattern = new RegExp(wordSource, "gu");
  for (let start = 0; start < text.length; ) {
    const part = windowAt(text, start);
    const isLast = start + part.length === text.length;
    let length = 0;
    for (const [word] of part.matchAll(pattern)) {
      if (isLast || !reachesBeyond(word, length + word.length, part)) {
        yield word;
        length += word.length;
        continue;
      }
      // Read again from the beginning of the next window, unless it fills this one.
      if (length === 0) length = yield* longWord(text, start, word);
      break;
    }
    start += length;
  }
}

/** Whether what stands behind the window may belong to a word, or decide where it ends. */
function reachesBeyond(word: string, end: number, part: string): boolean {
  if (end === part.length) return true;
  // Spaces up to the window's end: a newline may follow them.
  return newlineAtEnd.test(word) && isSpaces.test(part.slice(end));
}

/** The word at `start`, of which `known` fills a window: yields it and returns its length. */
function* longWord(text: string, start: number, known: string): Generator<string | null, number> {
  const behind = start + known.length;
  let end: number;
  if (spaces.exec(known)![0].length > 1 || newlines.exec(known)![0] !== "") {
    end = yield* endOfSpaces(text, start);
  } else if (letterAtEnd.test(known.slice(-2))) {
    end = yield* endOfRun(text, behind, letters);
  } else {
    // Symbols, then newlines.
    const afterSymbols = newlineAtEnd.test(known) ? behind : yield* endOfRun(text, behind, symbols);
    end = yield* endOfRun(text, afterSymbols, newlines);
  }
  yield text.slice(start, end);
  return end - start;
}

/** Of a run of spaces at `start`: behind its last newline, else before its last space, which goes with the next word. */
function* endOfSpaces(text: string, start: number): Generator<null, number> {
  const end = yield* endOfRun(text, start, spaces);
  for (let last = end - 1; last >= start; last--) {
    if ((end - last) % windowLength === 0) yield null;
    const unit = text.charCodeAt(last);
    if (unit === 0x0a || unit === 0x0d) return last + 1;
  }
  return end === text.length ? end : end - 1;
}

function* endOfRun(text: string, start: number, run: RegExp): Generator<null, number> {
  for (let end = start; ; ) {
    const part = windowAt(text, end);
    const { length } = run.exec(part)![0];
    end += length;
    if (length < part.length || end === text.length) return end;
    yield null;
  }
}

/** Ends between two characters. */
function windowAt(text: string, start: number): string {
  const end = start + windowLength;
  return text.slice(start, end < text.length && characterLength(text, end - 1) === 2 ? end + 1 : end);
}

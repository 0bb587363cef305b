import type { Steps } from "../time-slices.ts";
import type { Automaton } from "./pattern/automaton.ts";
import { automatonFor } from "./pattern/automatons.ts";
import { flatParts, inWindows, patternOf } from "./pre-tokenizers.ts";
import { isLowSurrogate } from "./surrogates.ts";
import { type Part, unsupported } from "./tokenizer-json.ts";

/** Changes a well-formed text before it is split. */
export type Normalizer = (text: string) => Steps<string>;

/** Throws TOKENIZER_UNSUPPORTED naming a part or a setting that is not implemented. */
export function readNormalizer(outer: Part | null, file: string): Normalizer | null {
  const normalizers = flatParts(outer, "normalizers", file).map((part) => normalizerOf(part, file));
  if (normalizers.length === 0) return null;
  return function* (text) {
    let changed = text;
    for (const normalizer of normalizers) changed = yield* normalizer(changed);
    return changed;
  };
}

function normalizerOf(part: Part, file: string): Normalizer {
  switch (part.type) {
    case "NFC":
    case "NFD":
    case "NFKC":
    case "NFKD":
      return (text) => normalizing(text, part.type);
    case "Lowercase":
      // Of each character by itself: a sigma at the end of a word is none of its own.
      return (text) => inWindows(text, (window) => window.split("\u03a3").map(lowerCase).join("\u03c3"));
    case "Prepend": {
      const front = textOf(part, "prepend", file);
      return now((text) => (text === "" ? "" : front + text));
    }
    case "Replace":
      return replacement(part, file);
    case "Strip":
      return now((text) => {
        const start = part.strip_left === true ? firstOther(text) : 0;
        return text.slice(start, part.strip_right === true ? lastOther(text, start) : text.length);
      });
    default:
      return unsupported(file, `normaliser "${part.type}"`);
  }
}

/** One step. */
const now = (change: (text: string) => string): Normalizer =>
  function* (text) {
    yield;
    return change(text);
  };

const lowerCase = (text: string) => text.toLowerCase();

/** The string field of a part. */
export function textOf(part: Part, field: string, file: string): string {
  const value = part[field];
  return typeof value === "string" ? value : unsupported(file, `"${part.type}" without "${field}"`);
}

function replacement(part: Part, file: string): Normalizer {
  const content = textOf(part, "content", file);
  const { String: text } = (part.pattern ?? {}) as { String?: unknown };
  if (typeof text === "string" && text.length === 1) {
    return (whole) => inWindows(whole, (window) => window.replaceAll(text, () => content));
  }
  const automaton = automatonFor(patternOf(part, file), file);
  return (whole) => replacing(whole, automaton, content);
}

/** Replaces each match in a text of any length by `content`, which is no pattern. */
export function* replacing(text: string, automaton: Automaton, content: string): Steps<string> {
  const search = automaton.search(text);
  let changed = "";
  for (let from = 0; from < text.length; from = search.end) {
    while (!search.next()) yield;
    changed += text.slice(from, search.start);
    if (search.start < text.length) changed += content;
  }
  return changed;
}

/** UTF-16 units that are normalised at a time: what ICU takes may grow with the square of a run of marks. */
const unitsPerStep = 4096;
/** All that NFC leaves as it is. */
const unchanged = /^[\0-\u02ff]*$/;
/**
 * Characters that neither join nor reorder with what is before them: no marks, no halfwidth sound marks, no parts of
 * Hangul syllables or of Kirat Rai vowels.
 */
const startsAnew =
  /[^\p{M}\p{Lm}\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\ud7b0-\ud7ff\uff9e-\uffdc\u{11300}-\u{113ff}\u{16100}-\u{1613f}\u{16d40}-\u{16d7f}]/u;

/** A run of marks longer than a step, which no script has, is normalised in parts. */
export function* normalizing(text: string, form: string): Steps<string> {
  let changed = "";
  for (let start = 0, end: number; start < text.length; start = end) {
    end = Math.min(start + unitsPerStep, text.length);
    for (let cut = end; end < text.length && cut > start; cut--) {
      const unit = text.charCodeAt(cut);
      // Never between the halves of a pair.
      if (isLowSurrogate(unit)) continue;
      if (startsAnew.test(String.fromCodePoint(text.codePointAt(cut)!))) {
        end = cut;
        break;
      }
    }
    if (end < text.length && isLowSurrogate(text.charCodeAt(end))) end++;
    const window = text.slice(start, end);
    changed += form === "NFC" && unchanged.test(window) ? window : window.normalize(form);
    if (end < text.length) yield;
  }
  return changed;
}

const spaceCharacter = /[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/;

/** Index of the first character that is no white space (Unicode's). */
export function firstOther(text: string): number {
  let index = 0;
  while (index < text.length && spaceCharacter.test(text[index]!)) index++;
  return index;
}

/** Index behind the last character that is no white space, `start` at least. */
export function lastOther(text: string, start = 0): number {
  let index = text.length;
  while (index > start && spaceCharacter.test(text[index - 1]!)) index--;
  return index;
}

import { automatonFor, literally } from "./pattern/automatons.ts";
import { SpaceFinder, spaceMark } from "./space-marks.ts";
import { type Behavior, behaviors, type Splitter, splitterBy } from "./splitters.ts";
import { isHighSurrogate } from "./surrogates.ts";
import { type Part, partsOf, unsupported } from "./tokenizer-json.ts";

/** What ByteLevel splits by when it does, which is GPT-2's. */
export const gpt2Pattern = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/** The rules by which a text becomes words. */
export interface WordRules {
  readonly splitters: readonly Splitter[];
  /** Words are spelled by their UTF-8 bytes (ByteLevel). */
  readonly isByteLevel: boolean;
}

/** Throws TOKENIZER_UNSUPPORTED naming a part or a setting that is not implemented. */
export function readPreTokenizer(outer: Part | null, file: string): WordRules {
  const splitters: Splitter[] = [];
  let isByteLevel = false;
  for (const part of flatParts(outer, "pretokenizers", file)) {
    // ByteLevel respells the text: what came after it would have to know that spelling.
    if (isByteLevel) return unsupported(file, `pre-tokeniser "${part.type}" after "ByteLevel"`);
    if (part.type === "ByteLevel") {
      isByteLevel = true;
      if (part.add_prefix_space !== false) splitters.push(withSpaceInFront);
      if (part.use_regex !== false) splitters.push(splitterBy(automatonFor(gpt2Pattern, file), "Isolated"));
    } else splitters.push(splitterOf(part, file));
  }
  return { splitters, isByteLevel };
}

/** The parts of sequences within sequences. */
export function flatParts(outer: Part | null, list: string, file: string, depth = 0): Part[] {
  if (depth > 8) return unsupported(file, `a "Sequence" nested this deeply in "${list}"`);
  const parts = partsOf(outer, list, file);
  return parts.flatMap((part) => (part.type === "Sequence" ? flatParts(part, list, file, depth + 1) : [part]));
}

function splitterOf(part: Part, file: string): Splitter {
  const by = (source: string, behavior: Behavior, invert = false) =>
    splitterBy(automatonFor(source, file), behavior, invert);
  switch (part.type) {
    case "Split":
      return by(patternOf(part, file), behaviorOf(part, file), part.invert === true);
    case "Digits":
      return by("\\p{N}", part.individual_digits === true ? "Isolated" : "Contiguous");
    case "Punctuation":
      return by("[!-/:-@\\[-`{-~\\p{P}]", behaviorOf(part, file));
    case "Whitespace":
      // Rust's \w has the two joiners.
      return by("[\\w\\x{200c}\\x{200d}]+|[^\\w\\x{200c}\\x{200d}\\s]+", "Removed", true);
    case "WhitespaceSplit":
      return by("\\s", "Removed");
    case "CharDelimiterSplit":
      return by(literally(String(part.delimiter)), "Removed");
    case "Metaspace":
      return metaspace(part, file);
    default:
      return unsupported(file, `pre-tokeniser "${part.type}"`);
  }
}

/** The `pattern` of a Split or a Replace, {"Regex": ...} or {"String": ...}, as a regular expression. */
export function patternOf(part: Part, file: string): string {
  const { Regex: regex, String: text } = (part.pattern ?? {}) as { Regex?: unknown; String?: unknown };
  if (typeof regex === "string") return regex;
  if (typeof text === "string" && text !== "") return literally(text);
  return unsupported(file, `"${part.type}" by ${JSON.stringify(part.pattern ?? null)}`);
}

function behaviorOf(part: Part, file: string): Behavior {
  const given = part.behavior ?? "Isolated";
  // The library reads both spellings.
  const behavior = behaviors.find((name) => name.toLowerCase() === String(given).replaceAll("_", "").toLowerCase());
  return behavior ?? unsupported(file, `"behavior" ${JSON.stringify(given)}`);
}

function* withSpaceInFront(text: string): Generator<string, void> {
  yield text.startsWith(" ") ? text : ` ${text}`;
}

function metaspace(part: Part, file: string): Splitter {
  if (part.replacement !== spaceMark) return unsupported(file, `"replacement" ${JSON.stringify(part.replacement)}`);
  // Files before prepend_scheme have add_prefix_space.
  const scheme = part.prepend_scheme ?? (part.add_prefix_space === false ? "never" : "always");
  if (scheme !== "always" && scheme !== "first" && scheme !== "never") {
    return unsupported(file, `"prepend_scheme" ${JSON.stringify(scheme)}`);
  }
  const splits = part.split !== false;
  return function* (text, isFirst) {
    const marked = yield* inWindows(text, (window) => window.replaceAll(" ", spaceMark));
    const wants = scheme === "always" || (scheme === "first" && isFirst);
    const whole = wants && !marked.startsWith(spaceMark) ? spaceMark + marked : marked;
    if (!splits) {
      yield whole;
      return;
    }
    const spaces = new SpaceFinder(whole);
    for (let start = 0, stop: number; start < whole.length; start = stop) {
      stop = spaces.next(start + 1);
      yield whole.slice(start, stop);
    }
  };
}

/** UTF-16 units that a built-in function is given at a time. */
const windowLength = 65_536;

/** A change that looks at single code points, over a text of any length; null is a pause. */
export function* inWindows(text: string, change: (window: string) => string): Generator<null, string> {
  if (text.length <= windowLength) return change(text);
  let changed = "";
  for (let start = 0, end: number; start < text.length; start = end) {
    end = Math.min(start + windowLength, text.length);
    if (isHighSurrogate(text.charCodeAt(end - 1))) end++;
    changed += change(text.slice(start, end));
    yield null;
  }
  return changed;
}

import { unsupported } from "../tokenizer-json.ts";
import { Automaton } from "./automaton.ts";
import { PatternError } from "./syntax.ts";

/** Published patterns are few, and each takes megabytes of tables. */
const mostKept = 16;
const longest = 4000;
const kept = new Map<string, Automaton>();

/**
 * The automaton for a pattern that a tokenizer's file holds.
 * Throws TOKENIZER_UNSUPPORTED naming the pattern and what in it is not supported.
 */
export function automatonFor(source: string, file: string): Automaton {
  const known = kept.get(source);
  if (known !== undefined) return known;
  const shown = JSON.stringify(source.length > 200 ? `${source.slice(0, 200)}...` : source);
  if (source.length > longest) return unsupported(file, `a pattern of ${source.length} characters`);
  try {
    const automaton = new Automaton(source);
    if (kept.size >= mostKept) kept.clear();
    kept.set(source, automaton);
    return automaton;
  } catch (error) {
    if (!(error instanceof PatternError)) throw error;
    return unsupported(file, `the pattern ${shown} (${error.message})`);
  }
}

/** A pattern that matches `text` and nothing else. */
export function literally(text: string): string {
  return text.replace(/[^\p{L}\p{N}]/gu, (character) => `\\x{${character.codePointAt(0)!.toString(16)}}`);
}

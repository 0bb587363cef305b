import type { Automaton } from "./pattern/automaton.ts";

/**
 * Splits a well-formed text into pieces, in order; null is a pause. `isFirst`: nothing stands before the text in what is
 * encoded.
 */
export type Splitter = (text: string, isFirst: boolean) => Generator<string | null, void>;

/** What becomes of the matches of a pattern, in the words of the tokenizers library. */
export type Behavior = "Removed" | "Isolated" | "MergedWithPrevious" | "MergedWithNext" | "Contiguous";

export const behaviors: readonly Behavior[] = [
  "Removed",
  "Isolated",
  "MergedWithPrevious",
  "MergedWithNext",
  "Contiguous",
];

/** Splits at the matches of a pattern, or with `invert` at what is between them. */
export function splitterBy(automaton: Automaton, behavior: Behavior, invert = false): Splitter {
  if (behavior === "Isolated") return (text) => isolated(automaton, text);
  return (text) => pieces(text, merged(spans(automaton, text, invert), behavior));
}

/** The splitters one after another, each on the pieces of the one before. */
export function* splitAll(
  splitters: readonly Splitter[],
  text: string,
  isFirst: boolean,
  index = 0,
): Generator<string | null, void> {
  if (index >= splitters.length - 1) {
    if (splitters.length === 0) yield text;
    else yield* splitters[index]!(text, isFirst);
    return;
  }
  let first = isFirst;
  for (const piece of splitters[index]!(text, isFirst)) {
    if (piece === null) yield null;
    else {
      yield* splitAll(splitters, piece, first, index + 1);
      first = false;
    }
  }
}

function* isolated(automaton: Automaton, text: string): Generator<string | null, void> {
  const search = automaton.search(text);
  for (let from = 0; from < text.length; from = search.end) {
    while (!search.next()) yield null;
    if (search.start > from) yield text.slice(from, search.start);
    if (search.start < text.length) yield text.slice(search.start, search.end);
  }
}

interface Span {
  readonly start: number;
  readonly end: number;
  readonly isMatch: boolean;
}

function* spans(automaton: Automaton, text: string, invert: boolean): Generator<Span | null, void> {
  const search = automaton.search(text);
  for (let from = 0; from < text.length; from = search.end) {
    while (!search.next()) yield null;
    if (search.start > from) yield { start: from, end: search.start, isMatch: invert };
    if (search.start < text.length) yield { start: search.start, end: search.end, isMatch: !invert };
  }
}

/** Joins a span to the one before it, as the behaviour has it; spans that are left out are not yielded. */
function* merged(all: Iterable<Span | null>, behavior: Behavior): Generator<Span | null, void> {
  let held: Span | null = null;
  for (const span of all) {
    if (span === null) yield null;
    else if (behavior === "Removed") {
      if (!span.isMatch) yield span;
    } else if (held !== null && joins(held, span, behavior)) held = { ...span, start: held.start };
    else {
      if (held !== null) yield held;
      held = span;
    }
  }
  if (held !== null) yield held;
}

/** `before` goes by its last part. */
function joins(before: Span, span: Span, behavior: Behavior): boolean {
  if (behavior === "Contiguous") return before.isMatch === span.isMatch;
  return behavior === "MergedWithPrevious" ? span.isMatch && !before.isMatch : before.isMatch && !span.isMatch;
}

function* pieces(text: string, all: Iterable<Span | null>): Generator<string | null, void> {
  for (const span of all) yield span === null ? null : text.slice(span.start, span.end);
}

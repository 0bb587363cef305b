/** A set of code points: ranges in rising order, first and last of each, that do not touch. */
export type CodePoints = readonly (readonly [number, number])[];

const last = 0x10ffff;

export const everything: CodePoints = [[0, last]];

export function union(...sets: readonly CodePoints[]): CodePoints {
  const ranges = sets.flat().sort((a, b) => a[0] - b[0]);
  const joined: [number, number][] = [];
  for (const [from, to] of ranges) {
    const before = joined.at(-1);
    if (before !== undefined && from <= before[1] + 1) before[1] = Math.max(before[1], to);
    else joined.push([from, to]);
  }
  return joined;
}

export function complement(set: CodePoints): CodePoints {
  const rest: [number, number][] = [];
  let next = 0;
  for (const [from, to] of set) {
    if (from > next) rest.push([next, from - 1]);
    next = to + 1;
  }
  if (next <= last) rest.push([next, last]);
  return rest;
}

export function intersection(a: CodePoints, b: CodePoints): CodePoints {
  return complement(union(complement(a), complement(b)));
}

/** Unicode's White_Space property, which JavaScript's \s is not quite. */
export const whiteSpace: CodePoints = union(
  ...[
    [0x09, 0x0d],
    [0x20],
    [0x85],
    [0xa0],
    [0x1680],
    [0x2000, 0x200a],
    [0x2028, 0x2029],
    [0x202f],
    [0x205f],
    [0x3000],
  ].map(([from, to]): CodePoints => [[from!, to ?? from!]]),
);

const known = new Map<string, CodePoints>();

/** Code points with a property of JavaScript's \p{}, by its name; null where there is none of this name. */
export function property(name: string): CodePoints | null {
  const found = known.get(name);
  if (found !== undefined) return found;
  let pattern: RegExp;
  try {
    pattern = new RegExp(`\\p{${name}}+`, "gu");
  } catch {
    return null;
  }
  const parts: CodePoints[] = [];
  for (let plane = 0; plane <= last; plane += 0x1000) parts.push(rangesWithin(plane, 0x1000, pattern));
  const set = union(...parts);
  known.set(name, set);
  return set;
}

/** Surrogates have no property that is asked for: texts are well-formed. */
function rangesWithin(first: number, count: number, pattern: RegExp): CodePoints {
  if (first >= 0xd800 && first <= 0xdfff) return [];
  const text = String.fromCodePoint(...Array.from({ length: count }, (_, i) => first + i));
  return Array.from(text.matchAll(pattern), ({ 0: run, index }) => {
    const from = text.codePointAt(index)!;
    return [from, from + (from > 0xffff ? run.length / 2 : run.length) - 1] as const;
  });
}

/** What Oniguruma's \w is: letters, marks, decimal digits and connectors. */
export function wordCharacters(): CodePoints {
  return union(...["Alphabetic", "M", "Nd", "Pc"].map((name) => property(name)!));
}

/** Past this many a set is closed under case already (\p{L}). */
const mostFolded = 4096;

/** `set` and what differs from its members in case only, by simple case folding (s and U+017F, k and U+212A). */
export function withoutCase(set: CodePoints): CodePoints {
  const size = set.reduce((sum, [from, to]) => sum + to - from + 1, 0);
  if (size > mostFolded) return set;
  const more: [number, number][] = [];
  for (const [from, to] of set) {
    for (let point = from; point <= to; point++) {
      const character = String.fromCodePoint(point);
      for (const other of [character.toLowerCase(), character.toUpperCase(), ...(sameFolding.get(character) ?? [])]) {
        const folded = other.codePointAt(0)!;
        if (String.fromCodePoint(folded) === other) more.push([folded, folded]);
      }
    }
  }
  return union(set, more);
}

const sameFolding = new Map([
  ["s", "\u017f"],
  ["S", "\u017f"],
  ["k", "\u212a"],
  ["K", "\u212a"],
  ["\u017f", "sS"],
  ["\u212a", "kK"],
]);

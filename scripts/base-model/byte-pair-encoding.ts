/**
 * Byte-pair encoding as SentencePiece trains it (Sennrich et al. 2016): start from characters, join the most frequent
 * neighbours again and again. Pieces stay inside a word: whitespace (U+2581) only leads a piece, scripts do not mix,
 * a digit stands alone. So does a Chinese character (as in LLaMA's own tokenizer): in a small corpus a joined pair is
 * all that the model would ever see of its two characters, and no new word could be written with them.
 */

export const whitespace = "▁";

export interface BytePairOptions {
  /** Pieces to find, characters included. */
  readonly size: number;
  /** Characters that are pieces whether or not they occur in the text. */
  readonly alphabet: readonly string[];
  /** Rarer characters are left to the byte pieces. */
  readonly rarestCharacter: number;
}

const unit = /▁?\p{Script=Latin}+|\d|▁?\p{P}+|▁|[^▁\n]/gu;

/** Merged pieces in the order of their merges, then single characters by frequency: the order of their scores. */
export function trainBytePairs(texts: Iterable<string>, options: BytePairOptions): string[] {
  const counts = countUnits(texts);
  const characters = countCharacters(counts, options);
  const words = [...counts].map(([word, count]) => ({ symbols: [...word], count }));
  const merged: string[] = [];
  const known = new Set(characters);
  while (merged.length + characters.length < options.size) {
    const best = mostFrequentPair(words, known);
    if (best === null) break;
    const [left, right] = best;
    // The same string can come from two pairs ("a"+"bc", "ab"+"c"); it is one piece.
    if (!known.has(left + right)) merged.push(left + right);
    known.add(left + right);
    for (const word of words) join(word.symbols, left, right);
  }
  return [...merged, ...characters];
}

function countUnits(texts: Iterable<string>): Map<string, number> {
  const counts = new Map<string, number>();
  for (const text of texts) {
    // Line feeds are left to the byte pieces, as where SentencePiece is trained on a text of lines.
    for (const [word] of (whitespace + text.replaceAll(" ", whitespace)).matchAll(unit)) {
      counts.set(word, (counts.get(word) ?? 0) + 1);
    }
  }
  return counts;
}

function countCharacters(words: Map<string, number>, { alphabet, rarestCharacter }: BytePairOptions): string[] {
  const counts = new Map(alphabet.map((character) => [character, 0]));
  for (const [word, count] of words) {
    for (const character of word) counts.set(character, (counts.get(character) ?? 0) + count);
  }
  const required = new Set(alphabet);
  return [...counts]
    .filter(([character, count]) => required.has(character) || count >= rarestCharacter)
    .sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1))
    .map(([character]) => character);
}

function mostFrequentPair(
  words: { symbols: string[]; count: number }[],
  known: ReadonlySet<string>,
): [string, string] | null {
  const pairs = new Map<string, number>();
  for (const { symbols, count } of words) {
    for (let i = 1; i < symbols.length; i++) {
      const [left, right] = [symbols[i - 1]!, symbols[i]!];
      if (!known.has(left) || !known.has(right)) continue;
      const key = `${left}\n${right}`;
      pairs.set(key, (pairs.get(key) ?? 0) + count);
    }
  }
  let best: string | null = null;
  let most = 1;
  for (const [key, count] of pairs) {
    if (count > most || (count === most && best !== null && key < best)) [best, most] = [key, count];
  }
  return best === null ? null : (best.split("\n") as [string, string]);
}

/** Joins every left-right neighbour in place, from the left. */
function join(symbols: string[], left: string, right: string): void {
  for (let i = 1; i < symbols.length; i++) {
    if (symbols[i - 1] === left && symbols[i] === right) symbols.splice(i - 1, 2, left + right);
  }
}

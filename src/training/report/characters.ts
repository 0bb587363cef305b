import { sliced } from "../../llama/time-slices.ts";
import type { Tokenizer } from "../../llama/tokenizer/tokenizer.ts";

/** How well a vocabulary holds the characters of a data set. */
export interface CharacterReport {
  /** Of the rows' own texts. */
  readonly total: number;
  /** Of the texts of some rows, without the template's words. */
  readonly tokensPerCharacter: number;
  /** Without a piece of their own: written in bytes, several tokens each. */
  readonly bytes: MissingCharacters;
  /** Not written at all, or as the unknown token: the model cannot tell them apart. */
  readonly unknown: MissingCharacters;
}

export interface MissingCharacters {
  readonly characters: number;
  /** Of all characters, 0..1. */
  readonly share: number;
  readonly distinct: number;
  /** The most frequent first. */
  readonly most: readonly { readonly character: string; readonly count: number }[];
}

const mostNamed = 10;
/** Texts of rows, evenly many apart, that tokens are counted in. */
const sampledRows = 200;
const sampledCharacters = 2000;

/** Unicode's characters in the texts of rows, and what the tokenizer makes of each alone. Throws the signal's reason. */
export async function characterReport(
  rows: readonly (readonly string[])[],
  tokenizer: Tokenizer,
  signal?: AbortSignal,
): Promise<CharacterReport> {
  const counts = await countCharacters(rows, signal);
  const total = [...counts.values()].reduce((sum, count) => sum + count, 0);
  const pause = sliced(signal);
  const [bytes, unknown]: [string, number][][] = [[], []];
  for (const [code, count] of counts) {
    const character = String.fromCodePoint(code);
    const found = writingOf(character, tokenizer);
    if (found !== "piece") (found === "bytes" ? bytes! : unknown!).push([character, count]);
    await pause();
  }
  const sample = sampleOf(rows);
  const [tokens, characters] = [sample.map((text) => tokenizer.encode(text).length), sample.map(charactersOf)].map(sum);
  return {
    total,
    tokensPerCharacter: characters === 0 ? 0 : tokens! / characters!,
    bytes: missing(bytes!, total),
    unknown: missing(unknown!, total),
  };
}

async function countCharacters(rows: readonly (readonly string[])[], signal: AbortSignal | undefined) {
  const plane = new Float64Array(0x1_0000);
  const beyond = new Map<number, number>();
  const pause = sliced(signal);
  for (const texts of rows) {
    for (const text of texts) {
      for (let i = 0; i < text.length; i++) {
        const code = text.codePointAt(i)!;
        if (code < 0x1_0000) plane[code]! += 1;
        else {
          beyond.set(code, (beyond.get(code) ?? 0) + 1);
          i++;
        }
      }
    }
    await pause();
  }
  const counts = new Map<number, number>();
  for (const [code, count] of plane.entries()) if (count > 0) counts.set(code, count);
  return new Map([...counts, ...beyond]);
}

/** What a character becomes where it stands alone. */
function writingOf(character: string, tokenizer: Tokenizer): "piece" | "bytes" | "unknown" {
  // What tokenizers normalise away or add at the ends of a text says nothing.
  if (character.trim() === "" || character === "\ufffd" || character === "\u2047") return "piece";
  const ids = tokenizer.encode(character);
  const text = tokenizer.decode(ids).trim();
  if (text === "" || text === "\u2047") return "unknown";
  return ids.some((id) => tokenizer.decode([id]).includes("\ufffd")) ? "bytes" : "piece";
}

function missing(found: [string, number][], total: number): MissingCharacters {
  const characters = sum(found.map(([, count]) => count));
  const sorted = found.sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1));
  return {
    characters,
    share: total === 0 ? 0 : characters / total,
    distinct: found.length,
    most: sorted.slice(0, mostNamed).map(([character, count]) => ({ character, count })),
  };
}

function sampleOf(rows: readonly (readonly string[])[]): string[] {
  const count = Math.min(sampledRows, rows.length);
  return Array.from({ length: count }, (_, i) => rows[Math.floor((i * rows.length) / count)]!)
    .flat()
    .map((text) => text.slice(0, sampledCharacters).toWellFormed())
    .filter((text) => text !== "");
}

function charactersOf(text: string): number {
  let count = 0;
  for (const _ of text) count++;
  return count;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((all, number) => all + number, 0);
}

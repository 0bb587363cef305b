/** Texts that share their first four characters. */
interface Bucket {
  readonly texts: Set<string>;
  /** In order; null: to be made anew. */
  sorted: string[] | null;
  /** Of each sorted text, where the longest other one stands that it begins with; -1: there is none. */
  parents: Int32Array;
}

const prefixLength = 4;
const hashes = 65_536;

/**
 * Texts of four characters and more that are looked for in other texts. A search takes time by the length of the text and
 * the logarithm of their number, whatever both are.
 */
export class Needles {
  readonly #uses = new Map<string, number>();
  readonly #buckets = new Map<string, Bucket>();
  /** Buckets by the hash of their prefix: most places of a text need no look into the map. */
  #counts = new Int32Array(0);

  get isEmpty(): boolean {
    return this.#uses.size === 0;
  }

  add(texts: readonly string[]): void {
    for (const text of texts) {
      const uses = this.#uses.get(text) ?? 0;
      this.#uses.set(text, uses + 1);
      if (uses > 0) continue;
      const bucket = this.#bucketOf(text) ?? this.#newBucket(text);
      bucket.texts.add(text);
      bucket.sorted = null;
    }
  }

  /** Takes back one add() of these. */
  remove(texts: readonly string[]): void {
    for (const text of texts) {
      const uses = this.#uses.get(text)! - 1;
      if (uses > 0) {
        this.#uses.set(text, uses);
        continue;
      }
      this.#uses.delete(text);
      const bucket = this.#bucketOf(text)!;
      bucket.texts.delete(text);
      bucket.sorted = null;
      if (bucket.texts.size > 0) continue;
      this.#buckets.delete(text.slice(0, prefixLength));
      this.#counts[hashAt(text, 0)]! -= 1;
    }
  }

  /** The length of the longest one that stands in `text` at `at`; 0: none does. */
  lengthAt(text: string, at: number): number {
    const bucket = this.#bucketAt(text, at);
    if (bucket === undefined) return 0;
    const sorted = ordered(bucket);
    let low = 0;
    let high = sorted.length;
    let common = 0;
    // The last one that is not after the text is the longest found, or begins with it.
    while (low < high) {
      const middle = (low + high) >>> 1;
      const length = commonLength(sorted[middle]!, text, at);
      if (isAfter(sorted[middle]!, text, at, length)) high = middle;
      else {
        low = middle + 1;
        common = length;
      }
    }
    let found = low - 1;
    while (found >= 0 && sorted[found]!.length > common) found = bucket.parents[found]!;
    return found < 0 ? 0 : sorted[found]!.length;
  }

  /** Does one begin with all that follows `at` in `text`, which is shorter than it? */
  beginsWithRest(text: string, at: number): boolean {
    const bucket = this.#bucketAt(text, at);
    if (bucket === undefined) return false;
    const rest = text.slice(at);
    const sorted = ordered(bucket);
    let low = 0;
    let high = sorted.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (sorted[middle]! < rest) low = middle + 1;
      else high = middle;
    }
    return sorted[low]?.startsWith(rest) ?? false;
  }

  #bucketAt(text: string, at: number): Bucket | undefined {
    if (at + prefixLength > text.length || this.#counts[hashAt(text, at)] === 0) return undefined;
    return this.#buckets.get(text.slice(at, at + prefixLength));
  }

  #bucketOf(text: string): Bucket | undefined {
    return this.#buckets.get(text.slice(0, prefixLength));
  }

  #newBucket(text: string): Bucket {
    const bucket: Bucket = { texts: new Set(), sorted: null, parents: new Int32Array() };
    this.#buckets.set(text.slice(0, prefixLength), bucket);
    // Most never hold anything.
    if (this.#counts.length === 0) this.#counts = new Int32Array(hashes);
    this.#counts[hashAt(text, 0)]! += 1;
    return bucket;
  }
}

function hashAt(text: string, at: number): number {
  let hash = 0;
  for (let i = 0; i < prefixLength; i++) hash = Math.imul(hash, 31) + text.charCodeAt(at + i);
  return (hash ^ (hash >>> 16)) & (hashes - 1);
}

function ordered(bucket: Bucket): string[] {
  if (bucket.sorted !== null) return bucket.sorted;
  // By UTF-16 units, as the search compares.
  const sorted = [...bucket.texts].sort();
  bucket.parents = new Int32Array(sorted.length);
  const open: number[] = [];
  for (const [index, text] of sorted.entries()) {
    while (open.length > 0 && !text.startsWith(sorted[open.at(-1)!]!)) open.pop();
    bucket.parents[index] = open.at(-1) ?? -1;
    open.push(index);
  }
  bucket.sorted = sorted;
  return sorted;
}

function commonLength(needle: string, text: string, at: number): number {
  const most = Math.min(needle.length, text.length - at);
  // They are of one bucket.
  let length = prefixLength;
  while (length < most && needle.charCodeAt(length) === text.charCodeAt(at + length)) length += 1;
  return length;
}

function isAfter(needle: string, text: string, at: number, common: number): boolean {
  if (common === needle.length) return false;
  return at + common === text.length || needle.charCodeAt(common) > text.charCodeAt(at + common);
}

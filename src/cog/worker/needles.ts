import { Trie } from "./trie.ts";

/** Node of which the failure link is not known since the last change. */
const unknown = -1;

/**
 * Texts of 255 UTF-16 units at most that are looked for in other texts, by the automaton of Aho and Corasick (1975): a
 * search takes time by the length of the text alone, however many there are and whatever they share. Links are made when a
 * search first needs them, so that a text more costs its own length.
 */
export class Needles {
  /** Most never hold anything. */
  #trie: Trie | null = null;
  /** How often each was added, by its node; of the others 0. */
  #uses = new Uint32Array(0);
  /** Nodes that are in use. */
  #count = 0;
  /** Of each node that of the longest proper suffix which is in the trie. */
  #links = new Int32Array(0);
  /** The length of the longest text that the node's own ends with; 0: none. */
  #ends = new Uint8Array(0);
  /** Nodes that lead to nothing any more, at most. */
  #left = 0;
  #linksFollowed = 0;

  get isEmpty(): boolean {
    return this.#count === 0;
  }

  /** Failure links followed by all searches so far: of each search no more than its text is long. */
  get linksFollowed(): number {
    return this.#linksFollowed;
  }

  add(texts: readonly string[]): void {
    if (texts.length === 0) return;
    this.#trie ??= new Trie();
    // Texts that are one secret's rarely share more than their first units.
    this.#trie.reserve(texts.reduce((sum, { length }) => sum + length, 0));
    const nodes = texts.map((text) => this.#trie!.add(text));
    this.#forgetLinks();
    for (const node of nodes) if (this.#uses[node]!++ === 0) this.#count++;
  }

  /** Takes back one add() of these. */
  remove(texts: readonly string[]): void {
    const trie = this.#trie;
    if (trie === null) return;
    for (const text of texts) {
      const node = trie.add(text);
      if (--this.#uses[node]! > 0) continue;
      this.#count--;
      this.#left += text.length;
    }
    if (2 * this.#left > trie.size) this.#rebuild(trie);
    this.#forgetLinks();
  }

  has(text: string): boolean {
    const trie = this.#trie;
    if (trie === null) return false;
    let node = 0;
    for (let at = 0; at < text.length; at++) {
      node = trie.child(node, text.charCodeAt(at));
      if (node === 0) return false;
    }
    return this.#uses[node]! > 0;
  }

  /**
   * The stretches of `text` that they cover, those that overlap or touch as one: start, end, start, end ... `leastCut`: of
   * this length on, an end of `text` that one begins with counts too.
   */
  stretches(text: string, leastCut = Number.POSITIVE_INFINITY): number[] {
    const found: number[] = [];
    const trie = this.#trie;
    if (trie === null) return found;
    let node = 0;
    for (let at = 0; at < text.length; at++) {
      const code = text.charCodeAt(at);
      let next = trie.child(node, code);
      while (next === 0 && node !== 0) {
        node = this.#link(trie, node);
        this.#linksFollowed += 1;
        next = trie.child(node, code);
      }
      node = next;
      if (node === 0) continue;
      if (this.#links[node] === unknown) this.#makeLink(trie, node);
      const length = this.#ends[node]!;
      if (length > 0) cover(found, at + 1 - length, at + 1);
    }
    const begun = trie.depth(node);
    if (begun >= leastCut) cover(found, text.length - begun, text.length);
    return found;
  }

  #link(trie: Trie, node: number): number {
    const known = this.#links[node]!;
    return known === unknown ? this.#makeLink(trie, node) : known;
  }

  #makeLink(trie: Trie, node: number): number {
    const parent = trie.parent(node);
    const code = trie.code(node);
    let link = 0;
    if (parent !== 0) {
      let suffix = this.#link(trie, parent);
      link = trie.child(suffix, code);
      while (link === 0 && suffix !== 0) {
        suffix = this.#link(trie, suffix);
        link = trie.child(suffix, code);
      }
    }
    if (link !== 0) this.#link(trie, link);
    this.#links[node] = link;
    this.#ends[node] = this.#uses[node]! > 0 ? trie.depth(node) : this.#ends[link]!;
    return link;
  }

  /** Before use: room for every node of the trie too. */
  #forgetLinks(): void {
    const { size } = this.#trie!;
    if (size > this.#links.length) {
      this.#links = new Int32Array(Math.ceil(1.25 * size));
      this.#ends = new Uint8Array(this.#links.length);
      const uses = new Uint32Array(this.#links.length);
      uses.set(this.#uses);
      this.#uses = uses;
    }
    this.#links.fill(unknown, 1, size);
  }

  /** Without the nodes that lead to nothing. */
  #rebuild(old: Trie): void {
    const [before, trie] = [this.#uses, new Trie()];
    this.#trie = trie;
    this.#uses = new Uint32Array(before.length);
    for (let node = 1; node < old.size; node++) {
      if (before[node]! > 0) this.#uses[trie.add(old.textOf(node))] = before[node]!;
    }
    this.#left = 0;
  }
}

/** Adds a stretch that ends after all of those found. */
function cover(found: number[], start: number, end: number): void {
  let last = found.length - 1;
  if (last > 0 && start >= found[last - 1]! && start <= found[last]!) {
    found[last] = end;
    return;
  }
  let first = start;
  for (; last > 0 && found[last]! >= first; last -= 2) first = Math.min(first, found[last - 1]!);
  found.length = last + 1;
  found.push(first, end);
}

import { randomInt } from "node:crypto";

/** A tree of texts by their UTF-16 units, for many short ones. Node 0 is the root. */
export class Trie {
  #size = 1;
  /** Of each node the child that came first, -1 - child where there are others; 0: none. */
  #children = new Int32Array(64);
  #parents = new Int32Array(64);
  #codes = new Uint16Array(64);
  #depths = new Uint8Array(64);
  /** The root's children. */
  readonly #first = new Int32Array(65_536);
  readonly #others = new EdgeTable();

  /** Nodes, the root included. */
  get size(): number {
    return this.#size;
  }

  /** Makes room at once for so many nodes more. */
  reserve(nodes: number): void {
    const needed = this.#size + nodes;
    if (needed > this.#parents.length) this.#enlarge(Math.max(needed, Math.ceil(1.5 * this.#parents.length)));
  }

  /** Returns the node of `text`, of 255 units at most. */
  add(text: string): number {
    let node = 0;
    for (let at = 0; at < text.length; at++) {
      const code = text.charCodeAt(at);
      const next = this.child(node, code);
      if (next === 0) return this.#chain(this.#grow(node, code), text, at + 1);
      node = next;
    }
    return node;
  }

  /** Adds the rest of a text below a node without children, where nothing has to be looked up. */
  #chain(node: number, text: string, from: number): number {
    this.reserve(text.length - from);
    const [children, parents, codes, depths] = [this.#children, this.#parents, this.#codes, this.#depths];
    let [parent, depth, child] = [node, depths[node]!, this.#size];
    for (let at = from; at < text.length; at++) {
      children[parent] = child;
      parents[child] = parent;
      codes[child] = text.charCodeAt(at);
      depths[child] = ++depth;
      parent = child++;
    }
    this.#size = child;
    return parent;
  }

  /** 0: there is none. */
  child(node: number, code: number): number {
    if (node === 0) return this.#first[code]!;
    const child = this.#children[node]!;
    if (child >= 0) return this.#codes[child] === code ? child : 0;
    return this.#codes[-1 - child] === code ? -1 - child : this.#others.get(node, code);
  }

  depth(node: number): number {
    return this.#depths[node]!;
  }

  parent(node: number): number {
    return this.#parents[node]!;
  }

  /** The last unit of its text. */
  code(node: number): number {
    return this.#codes[node]!;
  }

  textOf(node: number): string {
    let text = "";
    for (let at = node; at !== 0; at = this.#parents[at]!) text = String.fromCharCode(this.#codes[at]!) + text;
    return text;
  }

  #grow(parent: number, code: number): number {
    const node = this.#size++;
    if (node === this.#parents.length) this.#enlarge(Math.ceil(1.5 * node));
    this.#parents[node] = parent;
    this.#codes[node] = code;
    this.#depths[node] = this.#depths[parent]! + 1;
    const elder = this.#children[parent]!;
    if (parent === 0) this.#first[code] = node;
    // Node 0 is nobody's child: code 0 of an unset child is never mistaken for one.
    else if (elder === 0) this.#children[parent] = node;
    else {
      if (elder > 0) this.#children[parent] = -1 - elder;
      this.#others.set(parent, code, node);
    }
    return node;
  }

  #enlarge(nodes: number): void {
    this.#children = enlarged(this.#children, Int32Array, nodes);
    this.#parents = enlarged(this.#parents, Int32Array, nodes);
    this.#codes = enlarged(this.#codes, Uint16Array, nodes);
    this.#depths = enlarged(this.#depths, Uint8Array, nodes);
  }
}

/** (node, code) -> child in open addressing. The seed keeps texts from being chosen for their collisions. */
class EdgeTable {
  #count = 0;
  #shift = 32 - 6;
  #nodes = new Int32Array(64);
  #codes = new Uint16Array(64);
  #children = new Int32Array(64);
  readonly #seed = randomInt(2 ** 32);

  /** 0: there is none. */
  get(node: number, code: number): number {
    return this.#children[this.#slot(node, code)]!;
  }

  set(node: number, code: number, child: number): void {
    if (2 * ++this.#count > this.#nodes.length) this.#enlarge();
    this.#put(node, code, child);
  }

  #put(node: number, code: number, child: number): void {
    const slot = this.#slot(node, code);
    this.#nodes[slot] = node;
    this.#codes[slot] = code;
    this.#children[slot] = child;
  }

  /** Where it is, or would be. */
  #slot(node: number, code: number): number {
    const mixed = Math.imul(Math.imul(node ^ this.#seed, 0x85ebca6b) ^ code, 0x9e3779b1);
    const last = this.#nodes.length - 1;
    let slot = ((mixed ^ (mixed >>> 15)) >>> 0) >>> this.#shift;
    while (this.#children[slot] !== 0 && (this.#nodes[slot] !== node || this.#codes[slot] !== code))
      slot = (slot + 1) & last;
    return slot;
  }

  #enlarge(): void {
    const [nodes, codes, children] = [this.#nodes, this.#codes, this.#children];
    this.#shift -= 1;
    this.#nodes = new Int32Array(2 * nodes.length);
    this.#codes = new Uint16Array(2 * nodes.length);
    this.#children = new Int32Array(2 * nodes.length);
    for (const [slot, child] of children.entries()) if (child !== 0) this.#put(nodes[slot]!, codes[slot]!, child);
  }
}

type Numbers = Int32Array<ArrayBuffer> | Uint16Array<ArrayBuffer> | Uint8Array<ArrayBuffer>;

function enlarged<A extends Numbers>(array: A, Kind: new (length: number) => A, length: number): A {
  const larger = new Kind(length);
  larger.set(array);
  return larger;
}

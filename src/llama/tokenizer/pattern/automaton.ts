import { isHighSurrogate } from "../surrogates.ts";
import type { CodePoints } from "./code-points.ts";
import { compilePattern, type Instruction, type Program } from "./program.ts";
import { parsePattern } from "./syntax.ts";

/** UTF-16 units that are read between two pauses. */
const unitsPerStep = 16_384;
/** Units read without a match after which dead ends are remembered. */
const patience = 32;
/** States are made as texts need them; past so many all are forgotten. */
const mostStates = 4096;
const dead = 0;

/**
 * Finds the matches of a pattern as Oniguruma does (leftmost, of the alternatives the first), in time that grows with
 * the length of the text: a deterministic automaton whose states are lists of places in the pattern, the preferred first,
 * made when a text first needs them. Cox 2007-2010, https://swtch.com/~rsc/regexp/
 */
export class Automaton {
  readonly #program: Program;
  /** Code point -> class: characters that no set of the pattern tells apart. */
  readonly #classes: Uint16Array;
  readonly #classCount: number;
  /** Of each set, for each class: is it in the set? */
  readonly #members: readonly Uint8Array[];
  #kernels: { readonly places: readonly number[]; readonly before: number }[] = [];
  #ids = new Map<string, number>();
  /** state * (classes + 1) + class, the last class being the end of the text -> 2 * state + (the match may end here). */
  #transitions = new Int32Array(0);
  readonly #seen: Int32Array;
  #closures = 0;
  /** Where no assertion looks behind. */
  #start = dead;
  /** Grows when all states are forgotten. */
  epoch = 0;

  /** @throws PatternError naming the construct that is not supported */
  constructor(source: string) {
    this.#program = compilePattern(parsePattern(source));
    const { table, members } = partition(this.#program.sets);
    this.#classes = table;
    this.#members = members;
    this.#classCount = (members[0]?.length ?? 1) + 1;
    this.#seen = new Int32Array(this.#program.instructions.length);
    this.#forget();
  }

  search(text: string): Search {
    return new Search(this, text);
  }

  /** Reads on for a search. Returns whether it came to a match or the end; false is a pause. */
  advance(search: Search): boolean {
    const { text } = search;
    const { length } = text;
    const classes = this.#classes;
    const row = this.#classCount;
    if (search.epoch !== this.epoch) search.restart(this.epoch, this.startAt(text, search.begin));
    let { begin, at, accept, state } = search;
    let left = unitsPerStep;
    for (;;) {
      let isPause = false;
      for (;;) {
        let unit = at < length ? text.charCodeAt(at) : 0;
        let width = 1;
        if (unit >= 0xd800 && unit < 0xdc00) {
          unit = ((unit & 0x3ff) << 10) + (text.charCodeAt(at + 1) & 0x3ff) + 0x10000;
          width = 2;
        }
        const entry = state * row + (at < length ? classes[unit]! : row - 1);
        let transition = this.#transitions[entry]!;
        if (transition < 0) {
          transition = this.#transition(state, entry - state * row);
          if (search.epoch !== this.epoch) search.forget(this.epoch);
        }
        if ((transition & 1) === 1) accept = at;
        state = transition >> 1;
        if (state === dead) break;
        at += width;
        if (at - accept > patience && at - begin > patience && search.isDeadEnd(at, state)) break;
        if (--left === 0) {
          isPause = true;
          break;
        }
      }
      if (isPause) {
        search.pause(begin, at, accept, state);
        return false;
      }
      if (accept > begin) {
        search.found(begin, accept);
        return true;
      }
      if (begin >= length) {
        search.ended();
        return true;
      }
      begin += isHighSurrogate(text.charCodeAt(begin)) ? 2 : 1;
      at = begin;
      accept = -1;
      state = this.startAt(text, begin);
      if (--left <= 0) {
        search.pause(begin, at, accept, state);
        return false;
      }
    }
  }

  /** The state before a match that begins at `index`. */
  startAt(text: string, index: number): number {
    if (!this.#program.looksBehind) return this.#start;
    if (index === 0) return this.#intern([this.#program.start], this.#classCount - 1);
    const isPair = index > 1 && isHighSurrogate(text.charCodeAt(index - 2));
    return this.#intern([this.#program.start], this.#classes[text.codePointAt(index - (isPair ? 2 : 1))!]!);
  }

  #forget(): void {
    this.epoch++;
    this.#ids = new Map();
    this.#kernels = [];
    this.#transitions = new Int32Array(64 * this.#classCount).fill(-1);
    this.#intern([], 0);
    this.#start = this.#intern([this.#program.start], 0);
  }

  #intern(places: readonly number[], before: number): number {
    const behind = places.length > 0 && this.#program.looksBehind ? before : 0;
    const key = `${behind}:${places.join(",")}`;
    const known = this.#ids.get(key);
    if (known !== undefined) return known;
    const id = this.#kernels.push({ places, before: behind }) - 1;
    this.#ids.set(key, id);
    if ((id + 1) * this.#classCount > this.#transitions.length) {
      const larger = new Int32Array(this.#transitions.length * 2).fill(-1);
      larger.set(this.#transitions);
      this.#transitions = larger;
    }
    return id;
  }

  #transition(state: number, next: number): number {
    const { places, before } = this.#kernels[state]!;
    const { instructions } = this.#program;
    const after: number[] = [];
    let isMatch = false;
    this.#closures++;
    const stack = places.toReversed();
    while (stack.length > 0) {
      const place = stack.pop()!;
      if (this.#seen[place] === this.#closures) continue;
      this.#seen[place] = this.#closures;
      const instruction = instructions[place]!;
      if (instruction.op === "match") {
        // Whatever is less preferred ends here.
        isMatch = true;
        break;
      }
      if (instruction.op === "fork") stack.push(instruction.other, instruction.next);
      else if (instruction.op === "assert") {
        if (this.#holds(instruction, instruction.behind ? before : next)) stack.push(instruction.next);
      } else if (this.#members[instruction.set]![next] === 1) after.push(instruction.next);
    }
    const distinct = [...new Set(after)];
    if (this.#kernels.length >= mostStates) {
      this.#forget();
      return 2 * this.#intern(distinct, next) + (isMatch ? 1 : 0);
    }
    const transition = 2 * this.#intern(distinct, next) + (isMatch ? 1 : 0);
    this.#transitions[state * this.#classCount + next] = transition;
    return transition;
  }

  #holds({ set, edge }: Extract<Instruction, { op: "assert" }>, neighbour: number): boolean {
    return neighbour === this.#classCount - 1 ? edge : this.#members[set]![neighbour] === 1;
  }
}

/** One text on its way through an automaton. */
export class Search {
  readonly text: string;
  /** Of the match that was found; `start` is the text's length at the end. */
  start = 0;
  end = 0;
  /** Where the attempt under way begins, has come to, and could have ended; for the automaton. */
  begin = 0;
  at = 0;
  accept = -1;
  state = dead;
  epoch = -1;
  /** Place -> the state in which nothing was found there. */
  #deadEnds: Int32Array | null = null;
  readonly #automaton: Automaton;

  constructor(automaton: Automaton, text: string) {
    this.#automaton = automaton;
    this.text = text;
  }

  /** Goes to the next match, or to the end. false: not yet, call it again. */
  next(): boolean {
    return this.#automaton.advance(this);
  }

  restart(epoch: number, state: number): void {
    this.forget(epoch);
    this.at = this.begin;
    this.accept = -1;
    this.state = state;
  }

  forget(epoch: number): void {
    this.epoch = epoch;
    this.#deadEnds = null;
  }

  pause(begin: number, at: number, accept: number, state: number): void {
    this.begin = begin;
    this.at = at;
    this.accept = accept;
    this.state = state;
  }

  found(start: number, end: number): void {
    this.start = start;
    this.end = end;
    this.pause(end, end, -1, this.#automaton.startAt(this.text, end));
  }

  ended(): void {
    this.start = this.text.length;
    this.end = this.text.length;
  }

  /** Whether an earlier attempt came here in this state and found nothing more: what two attempts share is read once. */
  isDeadEnd(at: number, state: number): boolean {
    this.#deadEnds ??= new Int32Array(this.text.length + 2);
    if (this.#deadEnds[at] === state) return true;
    this.#deadEnds[at] = state;
    return false;
  }
}

/** Classes of code points that are in the same of the `sets`, as a table, and the sets as lists of classes. */
function partition(sets: readonly CodePoints[]): { table: Uint16Array; members: Uint8Array[] } {
  const borders = new Set([0]);
  for (const [from, to] of sets.flat()) borders.add(from).add(to + 1);
  const table = new Uint16Array(0x110000);
  const classes = new Map<string, number>();
  const inSets: string[] = [];
  const places = sets.map(() => 0);
  const sorted = [...borders].filter((border) => border < table.length).sort((a, b) => a - b);
  for (const [index, from] of sorted.entries()) {
    let key = "";
    for (const [number, set] of sets.entries()) {
      while (places[number]! < set.length && set[places[number]!]![1] < from) places[number]!++;
      const range = set[places[number]!];
      key += range !== undefined && range[0] <= from ? "1" : "0";
    }
    let known = classes.get(key);
    if (known === undefined) {
      known = inSets.push(key) - 1;
      classes.set(key, known);
    }
    if (known > 0) table.fill(known, from, sorted[index + 1] ?? table.length);
  }
  return { table, members: sets.map((_, number) => Uint8Array.from(inSets, (key) => Number(key[number]))) };
}

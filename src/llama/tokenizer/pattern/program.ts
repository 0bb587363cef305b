import type { CodePoints } from "./code-points.ts";
import { type Pattern, PatternError } from "./syntax.ts";

/** Thompson's machine: each instruction goes on to `next`, a fork to `next` before `other`. */
export type Instruction =
  | { readonly op: "set"; readonly set: number; next: number }
  | { readonly op: "fork"; next: number; other: number }
  | { readonly op: "assert"; readonly behind: boolean; readonly set: number; readonly edge: boolean; next: number }
  | { readonly op: "match" };

export interface Program {
  readonly instructions: readonly Instruction[];
  readonly start: number;
  readonly sets: readonly CodePoints[];
  readonly looksBehind: boolean;
}

const mostInstructions = 20_000;

/** @throws PatternError for a pattern that is too large, or that matches the empty text */
export function compilePattern(pattern: Pattern): Program {
  if (isNullable(pattern)) throw new PatternError("it matches the empty text");
  const instructions: Instruction[] = [{ op: "match" }];
  const sets = new Map<string, number>();
  const distinct: CodePoints[] = [];
  const setNumber = (set: CodePoints): number => {
    const key = set.join(";");
    const number = sets.get(key) ?? distinct.push(set) - 1;
    sets.set(key, number);
    return number;
  };
  const add = (instruction: Instruction): number => {
    if (instructions.length >= mostInstructions) throw new PatternError(`it has more than ${mostInstructions} parts`);
    return instructions.push(instruction) - 1;
  };
  let looksBehind = false;
  /** Instructions of `part` that go on to `next`; returns the first. */
  const compile = (part: Pattern, next: number): number => {
    switch (part.kind) {
      case "set":
        return add({ op: "set", set: setNumber(part.set), next });
      case "assert":
        looksBehind ||= part.behind;
        return add({ op: "assert", behind: part.behind, set: setNumber(part.set), edge: part.edge, next });
      case "sequence":
        return part.items.reduceRight((after, item) => compile(item, after), next);
      case "choice": {
        const [first, ...others] = part.options.map((option) => compile(option, next)).reverse();
        return others.reduce((other, option) => add({ op: "fork", next: option, other }), first!);
      }
      case "repeat":
        return repeat(part, next);
    }
  };
  const fork = (lazy: boolean, inner: number, outer: number): number =>
    add(lazy ? { op: "fork", next: outer, other: inner } : { op: "fork", next: inner, other: outer });
  const repeat = ({ item, min, max, lazy }: Extract<Pattern, { kind: "repeat" }>, next: number): number => {
    let after = next;
    if (max === Number.POSITIVE_INFINITY) {
      const loop = add({ op: "fork", next: 0, other: next });
      const inner = compile(item, loop);
      instructions[loop] = lazy ? { op: "fork", next, other: inner } : { op: "fork", next: inner, other: next };
      after = loop;
    } else {
      for (let i = min; i < max; i++) after = fork(lazy, compile(item, after), next);
    }
    for (let i = 0; i < min; i++) after = compile(item, after);
    return after;
  };
  const start = compile(pattern, 0);
  return { instructions, start, sets: distinct, looksBehind };
}

function isNullable(part: Pattern): boolean {
  switch (part.kind) {
    case "set":
      return false;
    case "assert":
      return true;
    case "sequence":
      return part.items.every(isNullable);
    case "choice":
      return part.options.some(isNullable);
    case "repeat":
      return part.min === 0 || isNullable(part.item);
  }
}

import type { MetricMode } from "../schema/context.ts";

type Tree = { [key: string]: unknown };

/** What a run recorded, merged as it came: dotted names are objects, the last of two clashing names wins. */
export class Metrics {
  #tree: Tree = {};

  record(name: string, value: unknown, mode: MetricMode): void {
    const segments = name.split(".");
    const leaf = segments.pop()!;
    const parent = segments.reduce<Tree>((tree, segment) => {
      if (!isTree(tree[segment])) tree[segment] = {};
      return tree[segment] as Tree;
    }, this.#tree);
    const before = Object.hasOwn(parent, leaf) ? parent[leaf] : undefined;
    const after = merged(before, value, mode);
    if (after === null) delete parent[leaf];
    else parent[leaf] = after;
  }

  /** As it is now, whatever is recorded later; plus `predict_time` in seconds once the run is over. */
  snapshot(predictTime: number | null): Tree {
    const copy = copied(this.#tree);
    if (predictTime !== null) copy.predict_time = predictTime;
    return copy;
  }

  /** Dotted names and values of the metrics that are numbers, at most `most` of them. */
  numbers(most: number): [name: string, value: number][] {
    const found: [string, number][] = [];
    collect(this.#tree, "", found, most);
    return found;
  }
}

/** Of what can still change: objects, which dotted names reach into, and lists, which grow. Items of lists stay as they came. */
function copied(tree: Tree): Tree {
  const copy = (value: unknown) => (Array.isArray(value) ? value.slice() : isTree(value) ? copied(value) : value);
  return Object.fromEntries(Object.entries(tree).map(([name, value]) => [name, copy(value)]));
}

function collect(tree: Tree, before: string, found: [string, number][], most: number): void {
  for (const [name, value] of Object.entries(tree)) {
    if (found.length === most) return;
    if (typeof value === "number") found.push([before + name, value]);
    else if (isTree(value)) collect(value, `${before}${name}.`, found, most);
  }
}

function merged(before: unknown, value: unknown, mode: MetricMode): unknown {
  if (mode === "increment") {
    if (typeof value !== "number") return before ?? null;
    return (typeof before === "number" ? before : 0) + value;
  }
  if (mode === "append") {
    if (before === undefined) return [value];
    if (!Array.isArray(before)) return [before, value];
    // In place: copying it for every item would cost the square of its length.
    before.push(value);
    return before;
  }
  return value;
}

function isTree(value: unknown): value is Tree {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

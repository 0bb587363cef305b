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

  /** A copy; plus `predict_time` in seconds once the run is over. */
  snapshot(predictTime: number | null): Tree {
    const copy: Tree = Object.keys(this.#tree).length === 0 ? {} : structuredClone(this.#tree);
    if (predictTime !== null) copy.predict_time = predictTime;
    return copy;
  }
}

function merged(before: unknown, value: unknown, mode: MetricMode): unknown {
  if (mode === "increment") {
    if (typeof value !== "number") return before ?? null;
    return (typeof before === "number" ? before : 0) + value;
  }
  if (mode === "append") {
    if (before === undefined) return [value];
    return [...(Array.isArray(before) ? before : [before]), value];
  }
  return value;
}

function isTree(value: unknown): value is Tree {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

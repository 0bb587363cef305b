import { type LinearName, type LlamaConfig, linearNames, linearPath } from "../../engine/config.ts";
import { CodedError } from "../../errors/index.ts";
import { ModulePatterns } from "./module-patterns.ts";
import type { PeftConfig } from "./peft-config.ts";
import { embedding, head } from "./tensor-name.ts";

/** A linear layer that an adapter sits on. */
export interface Target {
  readonly layer: number;
  readonly linear: LinearName;
  /** "model.layers.0.self_attn.q_proj" */
  readonly path: string;
  readonly rank: number;
  readonly alpha: number;
  /** alpha / r, or alpha / sqrt(r) with rsLoRA. */
  readonly scale: number;
}

/** The head or the embedding, where an adapter sits on it. */
export interface OuterTarget extends Pick<Target, "rank" | "alpha" | "scale"> {
  readonly path: typeof head | typeof embedding;
}

export interface Targets {
  /** Layer by layer. */
  readonly linears: readonly Target[];
  readonly outer: readonly OuterTarget[];
}

/** Rank and scale of the module of a path ("model.layers.0.self_attn.q_proj"). */
export type Scales = (path: string) => Pick<Target, "rank" | "alpha" | "scale">;
type ScaleFields = Pick<PeftConfig, "rank" | "alpha" | "rsLora" | "rankPattern" | "alphaPattern">;

/** @throws ADAPTER_CONFIG for a regular expression that cannot be used */
export function scalesOf(peft: ScaleFields, file: string, patterns = new ModulePatterns(file)): Scales {
  const rankOf = lookUp("rank_pattern", peft.rankPattern, peft.rank, patterns);
  const alphaOf = lookUp("alpha_pattern", peft.alphaPattern, peft.alpha, patterns);
  return (path) => {
    const [rank, alpha] = [rankOf(path), alphaOf(path)];
    return { rank, alpha, scale: alpha / (peft.rsLora ? Math.sqrt(rank) : rank) };
  };
}

/**
 * The modules that an adapter_config.json means on this model, by PEFT's rules of matching.
 * @param file the config's name in messages
 * @throws ADAPTER_CONFIG for a regular expression that cannot be used, ADAPTER_MISMATCH when nothing matches.
 */
export function findTargets(peft: PeftConfig, model: LlamaConfig, file: string): Targets {
  const patterns = new ModulePatterns(file);
  const isTarget = selector("target_modules", peft.targetModules, patterns);
  const isExcluded = selector("exclude_modules", peft.excludeModules, patterns);
  const scales = scalesOf(peft, file, patterns);
  // PEFT looks at the layer numbers only where the targets are a list.
  const layers = typeof peft.targetModules === "string" || peft.layers === null ? null : new Set(peft.layers);
  const targets: Target[] = [];
  for (let layer = 0; layer < model.layers; layer++) {
    if (layers?.has(layer) === false) continue;
    for (const linear of linearNames) {
      const path = linearPath(layer, linear);
      if (!isTarget(path) || isExcluded(path)) continue;
      targets.push({ layer, linear, path, ...scales(path) });
    }
  }
  const isAll = peft.targetModules === "all-linear";
  const outer = ([embedding, head] as const).filter(
    (path) => !isAll && layers === null && isTarget(path) && !isExcluded(path),
  );
  if (targets.length + outer.length === 0) {
    const names = JSON.stringify(peft.targetModules).slice(0, 200);
    throw new CodedError("ADAPTER_MISMATCH", `${file}: target_modules ${names} match no linear layer of this model`);
  }
  return { linears: targets, outer: outer.map((path) => ({ path, ...scales(path) })) };
}

/** The end of a path, written out: as an expression it matches itself alone, although its dots stand for any character. */
const plainEnd = /^(?:(?:(?:(?:model\.)?layers\.)?\d+\.)?(?:self_attn|mlp)\.)?\w+$/;

function selector(
  field: string,
  names: readonly string[] | string,
  patterns: ModulePatterns,
): (path: string) => boolean {
  if (names === "all-linear") return () => true;
  if (typeof names === "string") return patterns.wholePath(field, names);
  const set = new Set(names);
  return (path) => endsOf(path).some((end) => set.has(end));
}

/** The value of the first key that matches the end of a path. */
function lookUp(
  field: string,
  pattern: ReadonlyMap<string, number>,
  otherwise: number,
  patterns: ModulePatterns,
): (path: string) => number {
  interface Key {
    readonly place: number;
    readonly value: number;
  }
  const plain = new Map<string, Key>();
  const expressions: (Key & { readonly matches: (path: string) => boolean })[] = [];
  let place = 0;
  for (const [key, value] of pattern) {
    place++;
    if (plainEnd.test(key)) plain.set(key, { place, value });
    else expressions.push({ place, value, matches: patterns.endOfPath(field, key) });
  }
  return (path) => {
    const found: Key[] = endsOf(path).flatMap((end) => plain.get(end) ?? []);
    const expression = expressions.find(({ matches }) => matches(path));
    if (expression) found.push(expression);
    if (found.length === 0) return otherwise;
    return found.reduce((first, key) => (key.place < first.place ? key : first)).value;
  };
}

/** "model.layers.0.mlp.up_proj", "layers.0.mlp.up_proj", ... "up_proj" */
function endsOf(path: string): string[] {
  const parts = path.split(".");
  return parts.map((_, i) => parts.slice(i).join("."));
}

import { runInNewContext } from "node:vm";
import { type LinearName, type LlamaConfig, linearNames, linearPath } from "../../engine/config.ts";
import { CodedError } from "../../errors/index.ts";
import type { PeftConfig } from "./peft-config.ts";

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

/**
 * The linears that an adapter_config.json means on this model, by PEFT's rules of matching, layer by layer.
 * @param file the config's name in messages
 * @throws ADAPTER_CONFIG for a regular expression that cannot be used, ADAPTER_MISMATCH when nothing matches.
 */
export function findTargets(peft: PeftConfig, model: LlamaConfig, file: string): Target[] {
  const modules = Array.from({ length: model.layers }, (_, layer) =>
    linearNames.map((linear) => ({ layer, linear, path: linearPath(layer, linear) })),
  ).flat();
  const match = matcher(
    modules.map(({ path }) => path),
    [peft.targetModules, peft.excludeModules].filter((names) => typeof names === "string" && names !== "all-linear"),
    [...peft.rankPattern.keys(), ...peft.alphaPattern.keys()],
    file,
  );
  const selected = (names: readonly string[] | string, path: string): boolean => {
    if (typeof names === "string") return names === "all-linear" || match(`^(?:${names})$`, path);
    return names.some((name) => path === name || path.endsWith(`.${name}`));
  };
  const lookUp = (pattern: ReadonlyMap<string, number>, path: string, otherwise: number): number => {
    for (const [key, value] of pattern) if (match(pathEnd(key), path)) return value;
    return otherwise;
  };
  const targets = modules
    .filter(({ layer, path }) => {
      // PEFT looks at the layer numbers only where the targets are a list.
      const inLayers = typeof peft.targetModules === "string" || (peft.layers?.includes(layer) ?? true);
      return inLayers && selected(peft.targetModules, path) && !selected(peft.excludeModules, path);
    })
    .map((module): Target => {
      const rank = lookUp(peft.rankPattern, module.path, peft.rank);
      const alpha = lookUp(peft.alphaPattern, module.path, peft.alpha);
      return { ...module, rank, alpha, scale: alpha / (peft.rsLora ? Math.sqrt(rank) : rank) };
    });
  if (targets.length === 0) {
    const names = JSON.stringify(peft.targetModules).slice(0, 200);
    throw new CodedError("ADAPTER_MISMATCH", `${file}: target_modules ${names} match no linear layer of this model`);
  }
  return targets;
}

const pathEnd = (key: string): string => `^(?:.*\\.)?(?:${key})$`;
const matchingMs = 500;

/**
 * Regular expressions from an adapter are from outside, and one can be written that takes for ever: they run with a
 * time limit, all of them against all paths at once.
 */
function matcher(
  paths: readonly string[],
  wholePath: readonly (readonly string[] | string)[],
  endOfPath: readonly string[],
  file: string,
): (pattern: string, path: string) => boolean {
  const patterns = [...wholePath.map((pattern) => `^(?:${pattern})$`), ...endOfPath.map(pathEnd)];
  if (patterns.length === 0) return () => false;
  const code = `
    const { patterns, paths } = JSON.parse(input);
    JSON.stringify(patterns.map((pattern) => { const test = new RegExp(pattern); return paths.filter((path) => test.test(path)); }));`;
  try {
    const input = JSON.stringify({ patterns, paths });
    const found: string[][] = JSON.parse(runInNewContext(code, { input }, { timeout: matchingMs }));
    const hits = new Map(patterns.map((pattern, i) => [pattern, new Set(found[i])]));
    return (pattern, path) => hits.get(pattern)?.has(path) ?? false;
  } catch (cause) {
    const reason = (cause as Error).message;
    throw new CodedError("ADAPTER_CONFIG", `${file}: a regular expression for modules cannot be used: ${reason}`, {
      cause,
    });
  }
}

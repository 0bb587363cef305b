import { type LinearName, type LlamaConfig, linearNames, linearPath } from "../engine/config.ts";
import type { AdapterModule } from "../engine/engine.ts";
import { CodedError, isCodedError } from "../errors/index.ts";
import { ModulePatterns } from "../llama/adapter/module-patterns.ts";
import type { PeftConfig } from "../llama/adapter/peft-config.ts";
import { scalesOf, type Target } from "../llama/adapter/targets.ts";
import type { AdapterToWrite } from "../llama/adapter/write.ts";
import { allLinear, type TrainingSettings } from "./settings.ts";

/** What an adapter sits on, and how large and how strong it is there. */
export interface AdapterLayout extends Pick<PeftConfig, "rank" | "alpha" | "rsLora"> {
  /** Layer by layer, in the order of linearNames. */
  readonly targets: readonly Target[];
}

type LayoutSettings = Pick<
  TrainingSettings,
  "lora_r" | "lora_alpha" | "use_rslora" | "rank_pattern" | "alpha_pattern" | "lora_target_modules"
>;

/** The linears of lora_target_modules. */
export function linearsOf({ lora_target_modules: names }: Pick<TrainingSettings, "lora_target_modules">): LinearName[] {
  return linearNames.filter((linear) => names.includes(allLinear) || names.includes(linear));
}

/**
 * The layout that settings ask for, by PEFT's rules: scale alpha / r, or alpha / sqrt(r) with rsLoRA; the first key of a
 * pattern that matches the end of a module's path gives its rank or its alpha.
 * @throws TRAINING_SETTINGS for a key of a pattern that is no regular expression or matches no module
 */
export function layoutOf(model: LlamaConfig, settings: LayoutSettings): AdapterLayout {
  const { lora_r: rank, lora_alpha: alpha, use_rslora: rsLora } = settings;
  const patterns = { rank_pattern: settings.rank_pattern ?? {}, alpha_pattern: settings.alpha_pattern ?? {} };
  const linears = linearsOf(settings);
  const paths = Array.from({ length: model.layers }, (_, layer) =>
    linears.map((linear) => ({ layer, linear, path: linearPath(layer, linear) })),
  ).flat();
  for (const [name, pattern] of Object.entries(patterns)) requireMatches(name, pattern, paths);
  // checkSettings has seen that the values are numbers.
  const [rankPattern, alphaPattern] = Object.values(patterns).map((pattern) => new Map(Object.entries(pattern))) as [
    Map<string, number>,
    Map<string, number>,
  ];
  const scales = scalesOf({ rank, alpha, rsLora, rankPattern, alphaPattern }, "the settings");
  return { rank, alpha, rsLora, targets: paths.map((module) => ({ ...module, ...scales(module.path) })) };
}

/** The fields of PEFT's configuration for a layout: modules that differ from the others by their full paths. */
export function peftLayout(
  { rank, alpha, rsLora, targets }: AdapterLayout,
  model: LlamaConfig,
): Pick<AdapterToWrite, "rank" | "alpha" | "rsLora" | "rankPattern" | "alphaPattern" | "targetModules"> {
  const linears = linearNames.filter((name) => targets.some(({ linear }) => linear === name));
  const isWhole = targets.length === linears.length * model.layers;
  return {
    rank,
    alpha,
    rsLora,
    targetModules: isWhole ? linears : targets.map(({ path }) => path),
    rankPattern: Object.fromEntries(targets.filter((each) => each.rank !== rank).map((each) => [each.path, each.rank])),
    alphaPattern: Object.fromEntries(
      targets.filter((each) => each.alpha !== alpha).map((each) => [each.path, each.alpha]),
    ),
  };
}

function requireMatches(name: string, pattern: object, modules: readonly { path: string }[]): void {
  const patterns = new ModulePatterns("the settings");
  for (const key of Object.keys(pattern)) {
    if (matches(name, key, patterns).some(modules)) continue;
    const found = `${name}: ${JSON.stringify(key.slice(0, 200))} matches none of the modules that get an adapter`;
    const hint =
      'A key is the end of a module\'s path, such as "q_proj" or "layers.0.self_attn.q_proj", or a regular expression.';
    throw new CodedError("TRAINING_SETTINGS", found, { hint });
  }
}

function matches(name: string, key: string, patterns: ModulePatterns) {
  try {
    const test = patterns.endOfPath(name, key);
    return { some: (modules: readonly { path: string }[]) => modules.some(({ path }) => test(path)) };
  } catch (error) {
    if (!isCodedError(error)) throw error;
    throw new CodedError("TRAINING_SETTINGS", error.message, { hint: error.hint, cause: error });
  }
}

/** Of an adapter's float32 tensors. */
export function adapterBytes(modules: readonly Pick<AdapterModule, "a" | "b">[]): number {
  return modules.reduce((sum, { a, b }) => sum + a.byteLength + b.byteLength, 0);
}

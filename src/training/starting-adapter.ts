import type { AdapterModule } from "../engine/engine.ts";
import { CodedError, isCodedError } from "../errors/index.ts";
import { openAdapter } from "../llama/adapter/index.ts";
import { findTargets } from "../llama/adapter/targets.ts";
import type { TemplateRecord } from "../llama/prompt/index.ts";
import { type AdapterLayout, layoutOf, linearsOf, peftLayout } from "./adapter-layout.ts";
import type { Given } from "./plan.ts";
import type { TrainingSettings } from "./settings.ts";
import type { Base } from "./train-lora.ts";

/** An adapter that a training goes on from. */
export interface StartingAdapter {
  readonly initial: readonly AdapterModule[];
  readonly layout: AdapterLayout;
  /** With the adapter's rank, alpha and targets. */
  readonly settings: TrainingSettings;
  /** null where the adapter does not say what it was trained with. */
  readonly recorded: TemplateRecord | null;
  /** What a person should know, a line each. */
  readonly notes: readonly string[];
}

export interface StartOptions {
  readonly base: Base;
  readonly settings: TrainingSettings;
  readonly given: Given;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Reads an adapter to train further, from whatever openAdapter takes. Ranks, scales and modules are the adapter's.
 * @throws TRAINING_SETTINGS for a given setting that contradicts it; ADAPTER_UNSUPPORTED for one that is more than pairs on
 * linears; what openAdapter throws
 */
export async function startingAdapter(
  { path, name = path }: { readonly path: string; readonly name?: string },
  { base, settings, given, signal }: StartOptions,
): Promise<StartingAdapter> {
  const { config: model } = base.model;
  const published = base.checkpoint?.publishedName ?? null;
  const adapter = await openAdapter(path, model, { name, base: published, signal }).catch((error: unknown) => {
    if (!isCodedError(error) || error.code !== "ADAPTER_UNSUPPORTED") throw error;
    const hint =
      "Only pairs on the linears of the layers are trained. Merge it into its base with llama-lora merge, and train on that.";
    throw new CodedError(error.code, error.message, { hint, cause: error });
  });
  const { rank, alpha, rsLora } = adapter.config;
  const layout = { rank, alpha, rsLora, targets: findTargets(adapter.config, model, name).linears };
  const { targetModules: paths, rankPattern, alphaPattern } = peftLayout(layout, model);
  const linears = linearsOf({ lora_target_modules: layout.targets.map(({ linear }) => linear) });
  const own = {
    lora_r: rank,
    lora_alpha: alpha,
    use_rslora: rsLora,
    lora_target_modules: linears,
    rank_pattern: rankPattern ?? {},
    alpha_pattern: alphaPattern ?? {},
  };
  const refuse = (setting: keyof typeof own, has: unknown): never => {
    const found = `${setting} ${JSON.stringify(settings[setting])}`;
    const message = `${found} contradicts the adapter ${name}, which has ${JSON.stringify(has).slice(0, 300)}`;
    throw new CodedError("TRAINING_SETTINGS", message, { hint: `Leave ${setting} out: it is the adapter's.` });
  };
  for (const setting of ["lora_r", "lora_alpha", "use_rslora"] as const) {
    if (given.has(setting) && settings[setting] !== own[setting]) refuse(setting, own[setting]);
  }
  if (given.has("lora_target_modules")) {
    const asked = linearsOf(settings);
    const isSame = asked.length * model.layers === layout.targets.length && asked.length === linears.length;
    if (!isSame || !asked.every((linear) => linears.includes(linear))) refuse("lora_target_modules", paths);
  }
  for (const [setting, field] of [["rank_pattern", "rank"] as const, ["alpha_pattern", "alpha"] as const]) {
    if (!given.has(setting)) continue;
    const asked = layoutOf(model, { ...own, [setting]: settings[setting] });
    const byPath = new Map(asked.targets.map((target) => [target.path, target[field]]));
    if (layout.targets.some((target) => byPath.get(target.path) !== target[field])) refuse(setting, own[setting]);
  }
  return {
    initial: adapter.modules,
    layout,
    settings: { ...settings, ...own },
    recorded: adapter.promptTemplate,
    notes: [...adapter.warnings, startLine(name, layout)],
  };
}

/** "Starting from a.tar.gz: rank 8, alpha 16, 8 modules (q_proj, v_proj)" */
function startLine(name: string, { rsLora, targets }: AdapterLayout): string {
  const of = (field: "rank" | "alpha") => {
    const values = targets.map((target) => target[field]);
    const [least, most] = [Math.min(...values), Math.max(...values)];
    return `${field} ${least === most ? least : `${least} to ${most}`}`;
  };
  const linears = linearsOf({ lora_target_modules: targets.map(({ linear }) => linear) });
  const scale = `${of("alpha")}${rsLora ? " with rsLoRA" : ""}`;
  return `Starting from ${name}: ${of("rank")}, ${scale}, ${targets.length} modules (${linears.join(", ")})`;
}

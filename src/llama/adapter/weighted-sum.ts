import { type LlamaConfig, linearShape } from "../../engine/config.ts";
import type { AdapterModule } from "../../engine/engine.ts";
import { CodedError } from "../../errors/index.ts";
import type { Adapter } from "./adapter.ts";
import { combineFactors } from "./combine.ts";
import { adapterBytesVariable, largestRank } from "./size.ts";
import { layerLinears } from "./tensor-index.ts";

export interface WeightedAdapter extends Pick<Adapter, "modules" | "promptTemplate" | "warnings"> {
  readonly weight: number;
}

/** What of an adapter a model is served with. */
export type ServedAdapter = Pick<Adapter, "modules" | "promptTemplate" | "warnings">;

/**
 * The weighted sum of adapters' changes, exact: the ranks of a linear one after another (PEFT's "cat"). Where they were trained
 * with different prompt templates it has none.
 * @param mostBytes of the sum in float32
 * @throws ADAPTER_UNSUPPORTED for more ranks or bytes than are allowed
 */
export function weightedSum(
  adapters: readonly WeightedAdapter[],
  model: LlamaConfig,
  mostBytes: number,
): ServedAdapter {
  const [only, ...others] = adapters;
  if (only !== undefined && others.length === 0) {
    const { weight, ...adapter } = only;
    return { ...adapter, modules: adapter.modules.map((module) => ({ ...module, scale: module.scale * weight })) };
  }
  const modules: AdapterModule[] = [];
  let bytes = 0;
  for (const { layer, linear, path } of layerLinears(model)) {
    const terms = adapters.flatMap(({ modules: all, weight }) =>
      all
        .filter((module) => module.layer === layer && module.linear === linear)
        .map(({ a, b, rank, scale }) => ({ a, b, rank, factor: scale * weight })),
    );
    if (terms.length === 0) continue;
    const [rows, columns] = linearShape(model, linear);
    const rank = terms.reduce((sum, term) => sum + term.rank, 0);
    if (rank > largestRank) throw refusal(`have rank ${rank} together on ${path}, up to ${largestRank} are supported`);
    bytes += 4 * rank * (rows + columns);
    if (bytes > mostBytes) throw refusal(`take more than ${mostBytes} bytes together`);
    modules.push({ layer, linear, rank, scale: 1, ...combineFactors("cat", terms, { rows, columns, rank }) });
  }
  const warnings = adapters.flatMap((adapter) => adapter.warnings);
  const templates = new Set(adapters.map(({ promptTemplate }) => JSON.stringify(promptTemplate)));
  if (templates.size === 1) return { modules, warnings, promptTemplate: adapters[0]!.promptTemplate };
  const line = "the adapters were trained with different prompt templates: none of them is taken";
  return { modules, warnings: [...warnings, line], promptTemplate: null };
}

function refusal(what: string): CodedError {
  return new CodedError("ADAPTER_UNSUPPORTED", `the adapters ${what}`, {
    hint: `Use fewer at once or of lower ranks, or set ${adapterBytesVariable} to more bytes.`,
  });
}

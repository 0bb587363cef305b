import { type LlamaConfig, linearNames, linearPath } from "../../engine/config.ts";
import { CodedError } from "../../errors/index.ts";
import { type AdapterTensor, type AdapterTensors, adapterValues } from "./tensor-file.ts";
import { type AdapterPart, parseTensorName, type Spelling } from "./tensor-name.ts";

/** A tensor under the name that its file has for it. */
export interface NamedTensor {
  readonly given: string;
  readonly tensor: AdapterTensor;
}

export type ModuleTensors = ReadonlyMap<AdapterPart, NamedTensor>;

export interface TensorIndex {
  /** The file as messages name it. */
  readonly label: string;
  /** By the module's path. */
  readonly modules: ReadonlyMap<string, ModuleTensors>;
  /** How the pairs are named. */
  readonly spellings: ReadonlySet<Spelling>;
  /** Whether names lack "base_model.model.". */
  readonly isBare: boolean;
}

/**
 * An adapter's tensors by the base's module and their part in it.
 * @throws ADAPTER_UNSUPPORTED for one that is nothing known, ADAPTER_CORRUPT for two of one meaning, ADAPTER_MISMATCH for a
 *   layer that the model does not have
 */
export function indexTensors({ label, tensors }: AdapterTensors, model: LlamaConfig): TensorIndex {
  const modules = new Map<string, Map<AdapterPart, NamedTensor>>();
  const spellings = new Set<Spelling>();
  let isBare = false;
  for (const [given, tensor] of tensors) {
    const parsed = parseTensorName(given, label);
    // What the base has in its place is in the base.
    if (parsed.part === "original") continue;
    const layer = /^model\.layers\.(\d+)\./.exec(parsed.path)?.[1];
    if (layer !== undefined && Number(layer) >= model.layers) {
      throw new CodedError("ADAPTER_MISMATCH", `${label}: ${quoted(given)}: the model has ${model.layers} layers`);
    }
    const parts = modules.get(parsed.path) ?? new Map<AdapterPart, NamedTensor>();
    modules.set(parsed.path, parts);
    const other = parts.get(parsed.part);
    if (other !== undefined) {
      const names = other.given === given ? quoted(given) : `${quoted(given)} and ${quoted(other.given)}`;
      throw new CodedError("ADAPTER_CORRUPT", `${label}: ${names}: the same tensor is there twice`);
    }
    parts.set(parsed.part, { given, tensor });
    if (parsed.part === "A") spellings.add(parsed.spelling);
    isBare ||= parsed.isBare && parsed.spelling === "peft";
  }
  return { label, modules, spellings, isBare };
}

/** Linears of the layers, in the order that adapters are kept in. */
export function* layerLinears(model: LlamaConfig) {
  for (let layer = 0; layer < model.layers; layer++) {
    for (const linear of linearNames) yield { layer, linear, path: linearPath(layer, linear) };
  }
}

/**
 * A tensor's values, of just this shape.
 * @throws ADAPTER_MISMATCH naming both shapes, and what adapterValues throws
 */
export async function shapedValues(
  { given, tensor }: NamedTensor,
  expected: readonly number[],
  label: string,
): Promise<Float32Array<ArrayBuffer>> {
  checkShape({ given, tensor }, expected, label);
  return adapterValues(tensor, `${label}: tensor ${quoted(given)}`);
}

/** @throws ADAPTER_MISMATCH */
export function checkShape({ given, tensor }: NamedTensor, expected: readonly number[], label: string): void {
  const { shape } = tensor;
  if (shape.length === expected.length && shape.every((size, i) => size === expected[i])) return;
  const shapes = `[${expected.join(", ")}] expected, [${shape.join(", ")}] found`;
  throw new CodedError("ADAPTER_MISMATCH", `${label}: tensor ${quoted(given)}: shape ${shapes}`, {
    hint: "Was the adapter trained on another model?",
  });
}

export function quoted(name: string): string {
  return JSON.stringify(name.slice(0, 200));
}

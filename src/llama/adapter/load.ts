import { hasBias, type LlamaConfig, linearShape } from "../../engine/config.ts";
import type { AdapterModule, TensorSource } from "../../engine/engine.ts";
import { CodedError } from "../../errors/index.ts";
import type { PeftConfig } from "./peft-config.ts";
import { replacedWeights } from "./replaced-weights.ts";
import type { OuterTarget, Target, Targets } from "./targets.ts";
import { type ModuleTensors, type NamedTensor, quoted, shapedValues, type TensorIndex } from "./tensor-index.ts";
import { type AdapterPart, embedding, head } from "./tensor-name.ts";
import { trainedTokens } from "./trained-tokens.ts";
import type { OuterPair, WholeChanges } from "./whole-changes.ts";

/** What an adapter's tensors are held against. */
export interface LoadPlan {
  readonly index: TensorIndex;
  readonly targets: Targets;
  readonly config: Pick<PeftConfig, "dora" | "loraBias" | "modulesToSave" | "trainedTokens">;
  readonly model: LlamaConfig;
  /** Where the targets come from, in messages: "adapter/adapter_config.json". */
  readonly said: string;
  readonly signal?: AbortSignal | undefined;
}

export interface LoadedAdapter {
  readonly modules: readonly AdapterModule[];
  readonly whole: WholeChanges;
}

/**
 * Reads an adapter's tensors: all that its configuration asks for, and nothing else may be there.
 * @throws ADAPTER_CONFIG, ADAPTER_MISMATCH, ADAPTER_UNSUPPORTED, ADAPTER_CORRUPT naming file and tensor
 */
export async function loadAdapter(plan: LoadPlan): Promise<LoadedAdapter> {
  const { index, targets, model, signal } = plan;
  const replaced = replacedWeights(plan);
  const targeted = new Set<string>([...targets.linears, ...targets.outer].map(({ path }) => path));
  for (const [path, parts] of index.modules) {
    if (targeted.has(path)) continue;
    for (const [part, { given }] of parts) {
      if (part === "weight" || part === "bias" || part === "rows") continue;
      throw new CodedError(
        "ADAPTER_CONFIG",
        `${index.label}: tensor ${quoted(given)}: ${plan.said} does not target this layer`,
      );
    }
  }
  const modules: AdapterModule[] = [];
  const [magnitudes, biases] = [new Map<string, Float32Array>(), new Map<string, Float32Array>()];
  for (const target of targets.linears) {
    signal?.throwIfAborted();
    const { layer, linear, path, rank, scale } = target;
    const shape = linearShape(model, linear);
    modules.push({ layer, linear, rank, scale, ...(await pairOf(target, shape, plan)) });
    const magnitude = await vectorOf(target, "magnitude", shape[0], plan, plan.config.dora);
    if (magnitude !== null) magnitudes.set(path, magnitude);
    const bias = await vectorOf(target, "B bias", shape[0], plan, plan.config.loraBias);
    if (bias === null) continue;
    if (!hasBias(model, linear)) refuseBias(plan, target);
    biases.set(
      path,
      bias.map((value) => value * scale),
    );
  }
  const outer: OuterPair[] = [];
  for (const target of targets.outer) {
    if (plan.config.loraBias) refuseBias(plan, target);
    if (target.path === head) {
      const rows = rowsOf(`${head}.weight`, replaced, model);
      outer.push({ ...pick(target), ...(await pairOf(target, [rows, model.hiddenSize], plan)) });
      const magnitude = await vectorOf(target, "magnitude", rows, plan, plan.config.dora);
      if (magnitude !== null) magnitudes.set(head, magnitude);
    } else outer.push(await embeddingPair(target, plan, rowsOf(`${embedding}.weight`, replaced, model)));
  }
  return { modules, whole: { magnitudes, biases, outer, replaced, tokens: await trainedTokens(plan, replaced) } };
}

function pick({ path, rank, scale }: OuterTarget) {
  return { path, rank, scale };
}

async function pairOf(target: Target | OuterTarget, [out, input]: readonly [number, number], plan: LoadPlan) {
  const parts = plan.index.modules.get(target.path);
  await checkAlpha(target, parts, plan);
  const { label } = plan.index;
  return {
    a: await shapedValues(required(target.path, "A", parts, plan), [target.rank, input], label),
    b: await shapedValues(required(target.path, "B", parts, plan), [out, target.rank], label),
  };
}

/** PEFT keeps it transposed: A is [rank, vocabulary], B [hidden, rank]. */
async function embeddingPair(target: OuterTarget, plan: LoadPlan, rows: number): Promise<OuterPair> {
  if (plan.config.dora) {
    throw new CodedError("ADAPTER_UNSUPPORTED", `${plan.said}: use_dora on ${target.path} is not supported`);
  }
  const { rank } = target;
  const { hiddenSize } = plan.model;
  const parts = plan.index.modules.get(target.path);
  const { label } = plan.index;
  const a = await shapedValues(required(target.path, "A", parts, plan), [rank, rows], label);
  const b = await shapedValues(required(target.path, "B", parts, plan), [hiddenSize, rank], label);
  return { ...pick(target), a: transposed(b, hiddenSize, rank), b: transposed(a, rank, rows) };
}

function transposed(values: Float32Array, rows: number, columns: number): Float32Array {
  const result = new Float32Array(values.length);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) result[j * rows + i] = values[i * columns + j]!;
  return result;
}

const sides: Partial<Record<AdapterPart, string>> = {
  A: "lora_A.weight",
  B: "lora_B.weight",
  "B bias": "lora_B.bias",
  magnitude: "lora_magnitude_vector",
  weight: "weight",
};

function required(path: string, part: AdapterPart, parts: ModuleTensors | undefined, plan: LoadPlan): NamedTensor {
  const found = parts?.get(part);
  if (found !== undefined) return found;
  const side = path === embedding && (part === "A" || part === "B") ? `lora_embedding_${part}` : sides[part];
  const name = `base_model.model.${path}.${side}`;
  throw new CodedError("ADAPTER_MISMATCH", `${plan.index.label}: tensor "${name}" is missing`, {
    hint: `${plan.said} targets this layer of the loaded model.`,
  });
}

/** A vector that is there where the configuration says so, and only there. */
async function vectorOf(
  { path }: Target | OuterTarget,
  part: "magnitude" | "B bias",
  length: number,
  plan: LoadPlan,
  isExpected: boolean,
): Promise<Float32Array | null> {
  const parts = plan.index.modules.get(path);
  if (isExpected) return shapedValues(required(path, part, parts, plan), [length], plan.index.label);
  const extra = parts?.get(part);
  if (extra === undefined) return null;
  const field = part === "magnitude" ? "use_dora" : "lora_bias";
  throw new CodedError(
    "ADAPTER_CONFIG",
    `${plan.index.label}: tensor ${quoted(extra.given)}: ${plan.said} does not set ${field}`,
  );
}

/** Files of kohya's have the scale's numerator among the tensors; the configuration must not say another. */
async function checkAlpha({ path, alpha }: Target | OuterTarget, parts: ModuleTensors | undefined, plan: LoadPlan) {
  const found = parts?.get("alpha");
  if (found === undefined) return;
  const value = await alphaValue(found, plan.index.label);
  if (value === alpha) return;
  throw new CodedError("ADAPTER_CONFIG", `${plan.index.label}: ${path}: alpha is ${value}, ${plan.said} says ${alpha}`);
}

/** @throws ADAPTER_MISMATCH for more than one number */
export async function alphaValue({ given, tensor }: NamedTensor, label: string): Promise<number> {
  const { shape } = tensor;
  const [value] = await shapedValues({ given, tensor }, shape.length === 0 ? [] : [1], label);
  return value!;
}

function refuseBias({ said }: LoadPlan, { path }: Target | OuterTarget): never {
  throw new CodedError("ADAPTER_UNSUPPORTED", `${said}: lora_bias on ${path}, which has no bias in this model`, {
    hint: "Train it with lora_bias=False.",
  });
}

/** Of the embedding or the head, with the adapter's own in its place. */
export function rowsOf(name: string, replaced: ReadonlyMap<string, TensorSource>, model: LlamaConfig): number {
  return replaced.get(name)?.shape[0] ?? model.vocabSize;
}

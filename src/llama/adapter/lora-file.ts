import { CodedError } from "../../errors/index.ts";
import { readPytorchHeader } from "../checkpoint/pytorch/read.ts";
import { readSafetensorsHeader, type SafetensorsEntry } from "../checkpoint/safetensors.ts";
import { type LoraTensorName, loraFeature, parseLoraName } from "./lora-names.ts";
import { adapterErrors, adapterValues } from "./tensor-file.ts";

/** A pair of factors by tensor, of any family and any model: the change of a weight is scale * B A. */
export interface LoraPair {
  /** What the names of both tensors begin with. */
  readonly module: string;
  readonly names: { readonly a: string; readonly b: string; readonly alpha: string | null };
  readonly rank: number;
  /** [rank, ...]; those of convolutions have four dimensions. */
  readonly a: SafetensorsEntry;
  /** [out, rank, ...] */
  readonly b: SafetensorsEntry;
  readonly alpha: SafetensorsEntry | null;
}

export interface LoraFile {
  readonly file: string;
  /** "kohya", "diffusers", "peft" */
  readonly family: string;
  readonly pairs: ReadonlyMap<string, LoraPair>;
  /** Tensors that belong to no pair, by name. */
  readonly others: ReadonlyMap<string, SafetensorsEntry>;
  readonly metadata: ReadonlyMap<string, string>;
}

/** Pairs of the largest published files, many times over. */
const headerBytes = 2 ** 24;

/**
 * The pairs of a LoRA file in safetensors, whichever tool wrote it. Headers only are read.
 * @throws ADAPTER_NOT_FOUND, ADAPTER_CORRUPT naming the file and the tensor
 */
export async function readLoraFile(file: string): Promise<LoraFile> {
  const { tensors, metadata } = await readSafetensorsHeader(file, adapterErrors, headerBytes);
  return { file, metadata, ...pairsIn(tensors, file) };
}

/** The same of a state dict of PyTorch's (adapter_model.bin). @throws ADAPTER_UNSUPPORTED too, naming an object that is no tensor */
export async function readPickledLora(file: string): Promise<LoraFile> {
  const tensors = await readPytorchHeader(file, adapterErrors, headerBytes);
  return { file, metadata: new Map(), ...pairsIn(tensors, file) };
}

/** The pairs among tensors, of one family or several. @throws ADAPTER_CORRUPT naming a tensor without its other half */
export function pairsIn(tensors: ReadonlyMap<string, SafetensorsEntry>, file: string) {
  const halves = new Map<string, { a?: string; b?: string; alpha?: string; family: string }>();
  const others = new Map<string, SafetensorsEntry>();
  for (const [name, entry] of tensors) {
    const parsed = parseLoraName(name);
    if (parsed === null) {
      others.set(name, entry);
      continue;
    }
    const half = halves.get(parsed.module) ?? { family: "" };
    halves.set(parsed.module, { ...half, ...namesOf(parsed, name) });
  }
  const pairs = new Map<string, LoraPair>();
  const families = new Set<string>();
  for (const [module, { a, b, alpha, family }] of halves) {
    if (a === undefined && b === undefined) {
      others.set(alpha!, tensors.get(alpha!)!);
      continue;
    }
    if (a === undefined || b === undefined) {
      throw new CodedError("ADAPTER_CORRUPT", `${file}: tensor "${(a ?? b)!.slice(0, 200)}" has no other half`);
    }
    families.add(family);
    pairs.set(module, pairOf(module, { a, b, alpha: alpha ?? null }, tensors, file));
  }
  return { pairs, others, family: [...families].sort().join(" and ") };
}

function namesOf(parsed: LoraTensorName, name: string) {
  if (parsed.kind === "alpha") return { alpha: name };
  return { [parsed.kind === "A" ? "a" : "b"]: name, family: parsed.spelling.family };
}

function pairOf(
  module: string,
  names: LoraPair["names"],
  tensors: ReadonlyMap<string, SafetensorsEntry>,
  file: string,
): LoraPair {
  const [a, b] = [tensors.get(names.a)!, tensors.get(names.b)!];
  const alpha = names.alpha === null ? null : tensors.get(names.alpha)!;
  const isPair = a.shape.length >= 2 && b.shape.length >= 2 && a.shape[0] === b.shape[1] && a.shape[0]! > 0;
  const isPlain = b.shape.slice(2).every((size) => size === 1);
  if (!isPair || !isPlain) {
    throw new CodedError(
      "ADAPTER_CORRUPT",
      `${file}: tensors "${names.a.slice(0, 200)}" [${a.shape}] and "B" [${b.shape}] make no product`,
    );
  }
  if (alpha?.shape.some((size) => size !== 1)) {
    throw new CodedError("ADAPTER_CORRUPT", `${file}: tensor "${names.alpha}" is no single number`);
  }
  return { module, names, rank: a.shape[0]!, a, b, alpha };
}

/** @throws ADAPTER_UNSUPPORTED naming the first tensor that is no half of a pair, which leaving out would change the result */
export function refuseOthers({ file, others }: LoraFile): void {
  for (const name of others.keys()) {
    const feature = loraFeature(name);
    const what = feature === null ? "is not part of a LoRA pair" : `belongs to ${feature}, which is not supported here`;
    throw new CodedError("ADAPTER_UNSUPPORTED", `${file}: tensor ${JSON.stringify(name.slice(0, 200))} ${what}`);
  }
}

/**
 * A tensor of such a file as float32.
 * @throws ADAPTER_UNSUPPORTED for a type of number, ADAPTER_CORRUPT for numbers that are not finite
 */
export async function loraValues(entry: SafetensorsEntry, name: string): Promise<Float32Array> {
  return adapterValues(entry, `${entry.file}: tensor ${JSON.stringify(name.slice(0, 200))}`);
}

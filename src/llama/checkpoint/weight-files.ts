import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { CodedError, isCodedError } from "../../errors/index.ts";
import { refuseOtherFormats } from "./other-formats.ts";
import { type FoundWeights, readWeightSet } from "./read-weight-set.ts";
import { headerLimit } from "./safetensors.ts";
import { isDerived } from "./tensors.ts";
import { loosePytorchFiles, type WeightSet, weightSets } from "./weight-sets.ts";

export type { FoundWeights } from "./read-weight-set.ts";

/**
 * The tensors in a checkpoint folder: model.safetensors or pytorch_model.bin, whole or in shards with or without their
 * index; where there is neither, a variant of them (model.fp16.safetensors), else one file of PyTorch's under any name (.pt,
 * .pth). Of the same model in both formats safetensors is taken, with a warning that says so.
 * @param expected how many tensors the model has, by which the sizes of headers and index are limited
 * Throws CHECKPOINT_AMBIGUOUS for two sets of weights, CHECKPOINT_NOT_FOUND when there is none or one is not complete,
 * CHECKPOINT_UNSUPPORTED when there are weights of another format, CHECKPOINT_CORRUPT when a file is damaged or contradicts the
 * index.
 */
export async function findWeights(folder: string, expected: number): Promise<FoundWeights> {
  const mostBytes = headerLimit(expected);
  const names = await readdir(folder);
  const found = weightSets(names).toSorted((a, b) => Number(hasFiles(b)) - Number(hasFiles(a)));
  const [set, ...others] = found.length > 0 ? found : looseSets(folder, names);
  if (set === undefined) return refuseMissing(folder, names);
  if (set.variant !== null && others.some(({ variant }) => variant !== set.variant)) {
    const list = [set, ...others].map(firstFile).join(", ");
    throw new CodedError("CHECKPOINT_AMBIGUOUS", `${folder}: holds several variants of its weights: ${list}`, {
      hint: "Move all but one of them away",
    });
  }
  const weights = await readWeightSet(folder, set, mostBytes);
  const warnings: string[] = [];
  for (const other of others) warnings.push(await leftAside(folder, { weights, set, other }, mostBytes));
  const another = names.find((name) => /^consolidated\.|\.gguf$/i.test(name));
  if (another !== undefined) warnings.push(`${join(folder, another)}: not used, ${firstFile(set)} is taken`);
  return { ...weights, warnings: [...weights.warnings, ...warnings] };
}

/** The one file of PyTorch's that is named otherwise. */
function looseSets(folder: string, names: readonly string[]): WeightSet[] {
  const files = loosePytorchFiles(names);
  if (files.length > 1) {
    throw new CodedError("CHECKPOINT_AMBIGUOUS", `${folder}: holds several files of weights: ${files.join(", ")}`, {
      hint: "Move all but one of them away",
    });
  }
  return files.map((single) => ({ format: "pytorch", variant: null, single, index: null, shards: [] }));
}

interface Beside {
  readonly weights: FoundWeights;
  readonly set: WeightSet;
  readonly other: WeightSet;
}

/**
 * The line about a second set, which must be of the same model: safetensors and .bin lie side by side in most published
 * folders, but a .bin file may also be what a training has left there.
 */
async function leftAside(folder: string, { weights, set, other }: Beside, mostBytes: number): Promise<string> {
  const taken = `${firstFile(set)} is taken`;
  const line = `${join(folder, firstFile(other))}: not used, ${taken}`;
  if (other.variant !== set.variant) return line;
  try {
    const second = await readWeightSet(folder, other, mostBytes);
    const differs = [...weights.names, ...second.names].find((name) => !isSame(name, weights, second));
    if (differs === undefined) return line;
    const what = `tensor "${differs}" differs`;
    throw new CodedError(
      "CHECKPOINT_AMBIGUOUS",
      `${folder}: holds two sets of weights: ${firstFile(set)}, and ${firstFile(other)} (${what})`,
      { hint: "Move the files of one of them away" },
    );
  } catch (error) {
    if (!isCodedError(error) || error.code === "CHECKPOINT_AMBIGUOUS") throw error;
    return `${line}, and it cannot be read (${error.code})`;
  }
}

function isSame(name: string, first: FoundWeights, second: FoundWeights): boolean {
  const [a, b] = [first.find(name)?.shape, second.find(name)?.shape];
  // Either format may leave out what is tied or computed.
  if (a === undefined || b === undefined) return isDerived(name);
  return a.join() === b.join();
}

function hasFiles({ single, shards }: WeightSet): boolean {
  return single !== null || shards.length > 0;
}

function firstFile({ single, shards, index }: WeightSet): string {
  return single ?? shards[0]?.name ?? index ?? "";
}

function refuseMissing(folder: string, names: readonly string[]): never {
  const named = names.filter((name) => name.endsWith(".safetensors") && !/^(adapter_model|consolidated)/.test(name));
  const missing = (what: string, hint: string) =>
    new CodedError("CHECKPOINT_NOT_FOUND", `${folder}: ${what}`, { hint });
  if (named.length > 0) {
    throw missing(`holds ${named[0]}, but no model.safetensors`, "Rename the file to model.safetensors");
  }
  refuseOtherFormats(folder, names);
  throw missing(
    "holds neither model.safetensors nor pytorch_model.bin, whole or in shards",
    "Download the model's *.safetensors files into it",
  );
}

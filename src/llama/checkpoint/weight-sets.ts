/** The files that make up one model's weights, by their names; how it is saved by transformers. */
export interface WeightSet {
  readonly format: "safetensors" | "pytorch";
  /** "fp16" of model.fp16.safetensors, which is another precision of the same model; null of the usual names. */
  readonly variant: string | null;
  readonly single: string | null;
  readonly index: string | null;
  readonly shards: readonly Shard[];
}

export interface Shard {
  readonly name: string;
  /** From 1 to `of`, in a few old conversions from 0. */
  readonly number: number;
  readonly of: number;
}

const wholeName = /^(?:model(?:\.(\w+))?\.safetensors|pytorch_model(?:\.(\w+))?\.bin)$/;
const indexName = /^(?:model\.safetensors|pytorch_model\.bin)\.index(?:\.(\w+))?\.json$/;
// A variant stands before the numbers, in older files after them.
const shardName = /^(?:model|pytorch_model)(?:\.(\w+))?-(\d{1,9})-of-(\d{1,9})(?:\.(\w+))?\.(?:safetensors|bin)$/;

/** The sets of weights among a folder's files: safetensors first, and the usual names before variants. */
export function weightSets(names: readonly string[]): WeightSet[] {
  const sets = new Map<string, { -readonly [K in keyof WeightSet]: WeightSet[K] } & { shards: Shard[] }>();
  for (const name of names.toSorted()) {
    const whole = wholeName.exec(name);
    const index = indexName.exec(name);
    const shard = shardName.exec(name);
    const variant = whole?.[1] ?? whole?.[2] ?? index?.[1] ?? shard?.[1] ?? shard?.[4] ?? null;
    const format = name.startsWith("model") ? "safetensors" : "pytorch";
    if (!(whole ?? index ?? shard)) continue;
    if (shard && name.endsWith(".bin") !== (format === "pytorch")) continue;
    const key = `${variant === null ? 0 : 1} ${format === "safetensors" ? 0 : 1} ${variant}`;
    const set = sets.get(key) ?? { format, variant, single: null, index: null, shards: [] };
    sets.set(key, set);
    if (whole) set.single = name;
    else if (index) set.index = name;
    else if (shard) set.shards.push({ name, number: Number(shard[2]), of: Number(shard[3]) });
  }
  return [...sets].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, set]) => set);
}

/** Beside a model's weights PyTorch's users keep the state of a training. */
const trainingState = /^(optimizer|scheduler|rng_state|scaler|training_args|trainer_state)/;

/** Files of PyTorch's under names of their own: model.pt, llama.pth. */
export function loosePytorchFiles(names: readonly string[]): string[] {
  return names
    .filter((name) => /\.pth?$/.test(name) && !trainingState.test(name) && !/^consolidated\./.test(name))
    .toSorted();
}

/** The number of a shard that is missing for these to be complete, as a file's name; null: none is. */
export function missingShard(shards: readonly Shard[]): string | null {
  const [first] = shards;
  if (first === undefined) return null;
  const numbers = new Set(shards.map(({ number }) => number));
  // Shards that count from 0 lack the last number.
  const from = numbers.has(0) ? 0 : 1;
  for (let number = from; number < from + first.of && number <= from + shards.length; number++) {
    if (!numbers.has(number))
      return first.name.replace(/\d+-of/, `${String(number).padStart(numberWidth(first.name), "0")}-of`);
  }
  return null;
}

function numberWidth(name: string): number {
  return /-(\d+)-of/.exec(name)![1]!.length;
}

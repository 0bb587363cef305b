import type { BlockType, StoredType, WeightType } from "../engine.ts";

export interface BlockLayout {
  /** Weights in a block. */
  readonly elements: number;
  readonly bytes: number;
}

/** GGUF's block formats, as ggml-common.h lays them out. https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h */
export const blockLayouts: Readonly<Record<BlockType, BlockLayout>> = {
  Q4_0: { elements: 32, bytes: 18 },
  Q4_1: { elements: 32, bytes: 20 },
  Q5_0: { elements: 32, bytes: 22 },
  Q5_1: { elements: 32, bytes: 24 },
  Q8_0: { elements: 32, bytes: 34 },
  Q2_K: { elements: 256, bytes: 84 },
  Q3_K: { elements: 256, bytes: 110 },
  Q4_K: { elements: 256, bytes: 144 },
  Q5_K: { elements: 256, bytes: 176 },
  Q6_K: { elements: 256, bytes: 210 },
};

const weightLayouts: Readonly<Record<WeightType, BlockLayout>> = {
  F32: { elements: 1, bytes: 4 },
  F16: { elements: 1, bytes: 2 },
  BF16: { elements: 1, bytes: 2 },
};

const layouts = new Map<string, BlockLayout>(Object.entries({ ...weightLayouts, ...blockLayouts }));

/** Whether an engine can load a tensor of this type. */
export function isStoredType(name: string): name is StoredType {
  return layouts.has(name);
}

export function isBlockType(name: string): name is BlockType {
  return Object.hasOwn(blockLayouts, name);
}

export function layoutOf(type: StoredType): BlockLayout {
  return layouts.get(type)!;
}

/** Bytes that a tensor takes in its file; null where its rows are not whole blocks or the size is not possible. */
export function storedBytes(type: StoredType, shape: readonly number[]): number | null {
  const { elements, bytes } = layoutOf(type);
  if ((shape.at(-1) ?? 1) % elements !== 0) return null;
  let count = 1;
  for (const size of shape) {
    count *= size;
    if (!Number.isSafeInteger(count)) return null;
  }
  const total = (count / elements) * bytes;
  return Number.isSafeInteger(total) ? total : null;
}

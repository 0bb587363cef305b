import { layoutOf } from "../../../engine/tensors/stored-types.ts";

/** A type that a tensor in a GGUF file may have, whether or not an engine can load it. */
export interface GgmlType {
  readonly name: string;
  /** Weights and bytes of a block. */
  readonly elements: number;
  readonly bytes: number;
}

const loadable = [
  [0, "F32"],
  [1, "F16"],
  [2, "Q4_0"],
  [3, "Q4_1"],
  [6, "Q5_0"],
  [7, "Q5_1"],
  [8, "Q8_0"],
  [10, "Q2_K"],
  [11, "Q3_K"],
  [12, "Q4_K"],
  [13, "Q5_K"],
  [14, "Q6_K"],
  [30, "BF16"],
] as const;

/** Known by name and size, so that a file with them is described and refused by name. */
const others: readonly (readonly [id: number, name: string, elements: number, bytes: number])[] = [
  [9, "Q8_1", 32, 40],
  [15, "Q8_K", 256, 292],
  [16, "IQ2_XXS", 256, 66],
  [17, "IQ2_XS", 256, 74],
  [18, "IQ3_XXS", 256, 98],
  [19, "IQ1_S", 256, 50],
  [20, "IQ4_NL", 32, 18],
  [21, "IQ3_S", 256, 110],
  [22, "IQ2_S", 256, 82],
  [23, "IQ4_XS", 256, 136],
  [24, "I8", 1, 1],
  [25, "I16", 1, 2],
  [26, "I32", 1, 4],
  [27, "I64", 1, 8],
  [28, "F64", 1, 8],
  [29, "IQ1_M", 256, 56],
  [34, "TQ1_0", 256, 54],
  [35, "TQ2_0", 256, 66],
  [39, "MXFP4", 32, 17],
  [40, "NVFP4", 64, 36],
];

/** By the ids of ggml.h's ggml_type. https://github.com/ggml-org/ggml/blob/master/include/ggml.h */
export const ggmlTypes: ReadonlyMap<number, GgmlType> = new Map([
  ...loadable.map(([id, name]) => [id, { name, ...layoutOf(name) }] as const),
  ...others.map(([id, name, elements, bytes]) => [id, { name, elements, bytes }] as const),
]);

/** PyTorch's classes of storage -> safetensors' name of their type. */
export const storageTypes: ReadonlyMap<string, string> = new Map([
  ["torch.FloatStorage", "F32"],
  ["torch.HalfStorage", "F16"],
  ["torch.BFloat16Storage", "BF16"],
  ["torch.DoubleStorage", "F64"],
  ["torch.LongStorage", "I64"],
  ["torch.IntStorage", "I32"],
  ["torch.ShortStorage", "I16"],
  ["torch.CharStorage", "I8"],
  ["torch.ByteStorage", "U8"],
  ["torch.BoolStorage", "BOOL"],
  ["torch.ComplexFloatStorage", "C64"],
  ["torch.ComplexDoubleStorage", "C128"],
]);

/** Storages of bytes, whose tensors have their type beside them. */
export const untypedStorages: ReadonlySet<string> = new Set([
  "torch.UntypedStorage",
  "torch.storage.UntypedStorage",
  "torch.storage.TypedStorage",
]);

/** PyTorch's types of number -> safetensors' name of them. */
export const dtypes: ReadonlyMap<string, string> = new Map([
  ...(["float32", "float"] as const).map((name) => [`torch.${name}`, "F32"] as const),
  ...(["float16", "half"] as const).map((name) => [`torch.${name}`, "F16"] as const),
  ["torch.bfloat16", "BF16"],
  ["torch.float64", "F64"],
  ["torch.double", "F64"],
  ["torch.int64", "I64"],
  ["torch.int32", "I32"],
  ["torch.int16", "I16"],
  ["torch.int8", "I8"],
  ["torch.uint8", "U8"],
  ["torch.uint16", "U16"],
  ["torch.uint32", "U32"],
  ["torch.uint64", "U64"],
  ["torch.bool", "BOOL"],
  ["torch.complex64", "C64"],
  ["torch.float8_e4m3fn", "F8_E4M3"],
  ["torch.float8_e5m2", "F8_E5M2"],
]);

const widths: Readonly<Record<string, number>> = {
  ...{ BOOL: 1, U8: 1, I8: 1, F8_E4M3: 1, F8_E5M2: 1, I16: 2, U16: 2, F16: 2, BF16: 2, I32: 4, U32: 4, F32: 4 },
  ...{ I64: 8, U64: 8, F64: 8, C64: 8, C128: 16 },
};

/** Bytes of an element. */
export function widthOf(dtype: string): number {
  return widths[dtype]!;
}

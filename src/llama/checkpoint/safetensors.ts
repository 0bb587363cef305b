import type { WeightType } from "../../engine/engine.ts";
import { CodedError, type ErrorCode } from "../../errors/index.ts";
import { openRegularFile, readBytes } from "../regular-file.ts";
import { refuseImpostor } from "../tokenizer/impostor.ts";
import { parseUniqueKeyJson, type UniqueKeyJson } from "./unique-key-json.ts";

/** A tensor of any safetensors type; TensorSource is one that the engine can load. */
export interface SafetensorsEntry {
  readonly file: string;
  /** Byte offset of the first element in the file. */
  readonly offset: number;
  readonly bytes: number;
  readonly dtype: string;
  readonly shape: readonly number[];
}

export interface SafetensorsHeader {
  readonly tensors: ReadonlyMap<string, SafetensorsEntry>;
  readonly metadata: ReadonlyMap<string, string>;
}

/** What to report of a file that is missing or damaged: of a checkpoint, or of an adapter. */
export interface FileErrors {
  readonly missing: ErrorCode;
  readonly corrupt: ErrorCode;
}

export const checkpointErrors: FileErrors = { missing: "CHECKPOINT_NOT_FOUND", corrupt: "CHECKPOINT_CORRUPT" };

/** The reference reader's limit. */
const formatLimit = 100_000_000;

/** Bytes that a header may have for so many tensors: an entry takes about 200, and there are metadata beside them. */
export function headerLimit(tensors: number): number {
  return Math.min(formatLimit, 2 ** 20 + 1024 * tensors);
}

/** Bits per element, by the format's names. */
const dtypeBits = new Map(
  Object.entries({
    ...{ F4: 4, F6_E2M3: 6, F6_E3M2: 6, BOOL: 8, U8: 8, I8: 8, F8_E4M3: 8, F8_E5M2: 8, F8_E8M0: 8, I16: 16, U16: 16 },
    ...{ F16: 16, BF16: 16, I32: 32, U32: 32, F32: 32, I64: 64, U64: 64, F64: 64, C64: 64 },
  }),
);

/**
 * Reads and checks the header of a safetensors file; no tensor data is read, nor a header of more than `mostBytes`.
 * Throws CHECKPOINT_CORRUPT (or as `errors` says) naming the file and the tensor when the header is damaged, ranges
 * overlap or leave holes, or the file is shorter or longer than the header says.
 * https://huggingface.co/docs/safetensors, with the checks of its reference implementation, and names given twice refused.
 */
export async function readSafetensorsHeader(
  file: string,
  errors = checkpointErrors,
  mostBytes = formatLimit,
): Promise<SafetensorsHeader> {
  const handle = await openRegularFile(file, errors);
  try {
    const { size } = await handle.stat();
    const start = await readBytes(handle, file, 0, Math.min(size, 512), errors.corrupt);
    refuseImpostor(start, file, errors.corrupt);
    const fail = (what: string, cause?: unknown): never => {
      throw new CodedError(errors.corrupt, `${file}: ${what}`, { hint: "Download or copy the file again", cause });
    };
    if (size < 8) return fail(`has ${size} bytes, which is too short for a safetensors file`);
    const length = new DataView(start.buffer, start.byteOffset).getBigUint64(0, true);
    if (length > BigInt(formatLimit)) {
      return fail(`is not a safetensors file: its header would have ${length} bytes (${formatLimit} at most)`);
    }
    if (length > BigInt(mostBytes)) {
      return fail(`its header has ${length} bytes; the tensors that belong into it need ${mostBytes} at most`);
    }
    const headerBytes = Number(length);
    if (headerBytes > size - 8) return fail(`is truncated: the header has ${headerBytes} bytes, the file ${size}`);
    const header = await readBytes(handle, file, 8, headerBytes, errors.corrupt);
    return parseHeader(header, file, size, fail);
  } finally {
    await handle.close();
  }
}

type Fail = (what: string, cause?: unknown) => never;

function parseHeader(bytes: Uint8Array, file: string, size: number, fail: Fail): SafetensorsHeader {
  let json: UniqueKeyJson;
  try {
    if (bytes[0] !== 0x7b) throw new SyntaxError('it does not begin with "{"');
    json = parseUniqueKeyJson(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch (error) {
    return fail(`the header is not valid: ${(error as Error).message}`, error);
  }
  if (!(json instanceof Map)) return fail("the header is not an object");
  const metadata = new Map<string, string>();
  const tensors = new Map<string, SafetensorsEntry>();
  const dataStart = 8 + bytes.length;
  for (const [name, value] of json) {
    if (!(value instanceof Map)) return fail(`header entry ${quote(name)} is not an object`);
    if (name !== "__metadata__") {
      tensors.set(name, parseEntry(name, value, file, dataStart, fail));
      continue;
    }
    for (const [key, text] of value) {
      if (typeof text !== "string") return fail(`metadata ${quote(key)} is not a string`);
      metadata.set(key, text);
    }
  }
  checkRanges(tensors, dataStart, size, fail);
  return { tensors, metadata };
}

function parseEntry(
  name: string,
  entry: Map<string, UniqueKeyJson>,
  file: string,
  dataStart: number,
  fail: Fail,
): SafetensorsEntry {
  const dtype = entry.get("dtype");
  const bits = typeof dtype === "string" ? dtypeBits.get(dtype) : undefined;
  if (typeof dtype !== "string" || bits === undefined) {
    return fail(`tensor ${quote(name)} has dtype ${JSON.stringify(dtype)}, which the format does not know`);
  }
  const shape = entry.get("shape");
  if (!isCounts(shape)) return fail(`tensor ${quote(name)}: shape is not a list of sizes`);
  const offsets = entry.get("data_offsets");
  if (!isCounts(offsets) || offsets.length !== 2) {
    return fail(`tensor ${quote(name)}: data_offsets is not a pair of offsets`);
  }
  const [begin, end] = offsets as [number, number];
  const expected = tensorBytes(shape, bits);
  if (expected === null) return fail(`tensor ${quote(name)} of shape [${shape}] has an impossible size`);
  if (end - begin !== expected) {
    return fail(`tensor ${quote(name)}: ${dtype} of shape [${shape}] takes ${expected} bytes, not ${end - begin}`);
  }
  return { file, offset: dataStart + begin, bytes: expected, dtype, shape };
}

/** product(shape) * bits / 8, or null where that is no whole number of bytes or overflows. */
function tensorBytes(shape: readonly number[], bits: number): number | null {
  // A zero anywhere empties the tensor, however large the other sizes are; the reference still checks their product.
  let elements = 1;
  for (const size of shape) {
    elements *= size;
    if (!Number.isSafeInteger(elements)) return null;
  }
  const total = elements * bits;
  return Number.isSafeInteger(total) && total % 8 === 0 ? total / 8 : null;
}

function checkRanges(tensors: ReadonlyMap<string, SafetensorsEntry>, dataStart: number, size: number, fail: Fail) {
  let end = dataStart;
  const sorted = [...tensors].sort(([, a], [, b]) => a.offset - b.offset || a.bytes - b.bytes);
  for (const [name, entry] of sorted) {
    if (entry.offset !== end) {
      const found = entry.offset < end ? "overlaps the tensor before it" : "leaves a hole before it";
      fail(`tensor ${quote(name)} ${found} (begins at byte ${entry.offset - dataStart}, not ${end - dataStart})`);
    }
    end += entry.bytes;
  }
  if (end > size) fail(`is truncated: the header describes ${end} bytes, the file has ${size}`);
  if (end < size) fail(`is longer than its header says: ${end} bytes are described, the file has ${size}`);
}

function isCounts(value: UniqueKeyJson | undefined): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && (item as number) >= 0);
}

/** Whether the engine can load a tensor of this type. */
export function isWeightType(dtype: string): dtype is WeightType {
  return dtype === "F32" || dtype === "F16" || dtype === "BF16";
}

function quote(name: string): string {
  return JSON.stringify(name.length > 200 ? `${name.slice(0, 200)}...` : name);
}

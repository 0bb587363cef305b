import { CodedError } from "../../../errors/index.ts";
import { openRegularFile, readBytes } from "../../regular-file.ts";
import { refuseImpostor } from "../../tokenizer/impostor.ts";
import { checkpointErrors } from "../safetensors.ts";
import { BadBytes, Cursor, EndOfBytes, type GgufValue } from "./cursor.ts";
import { type GgmlType, ggmlTypes } from "./types.ts";

/** A tensor of any of GGUF's types. `shape` is row-major, as Hugging Face has it: the reverse of the file's. */
export interface GgufTensor {
  readonly file: string;
  /** Byte offset of the first element in the file. */
  readonly offset: number;
  readonly bytes: number;
  readonly dtype: string;
  readonly shape: readonly number[];
}

export interface GgufHeader {
  readonly file: string;
  readonly version: number;
  readonly metadata: ReadonlyMap<string, GgufValue>;
  /** By GGUF's names ("blk.0.attn_q.weight"). */
  readonly tensors: ReadonlyMap<string, GgufTensor>;
}

/** Metadata and tensor table of the largest published vocabularies have 20 MB. */
const longestHeader = 2 ** 26;
/** Layers times their tensors, and as many keys: far above every published model. */
const [mostTensors, mostKeys] = [2 ** 16, 2 ** 16];
const longestName = 1024;

/**
 * Reads and checks the header of a GGUF file of version 2 or 3, little-endian; no tensor data is read.
 * Throws CHECKPOINT_CORRUPT naming the file, the key or the tensor when the header is damaged, tensors overlap or do not
 * lie in the file, and CHECKPOINT_UNSUPPORTED for another version or byte order.
 * https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */
export async function readGgufHeader(file: string): Promise<GgufHeader> {
  const { corrupt } = checkpointErrors;
  const handle = await openRegularFile(file, checkpointErrors);
  try {
    const { size } = await handle.stat();
    const start = await readBytes(handle, file, 0, Math.min(size, 512), corrupt);
    refuseImpostor(start, file, corrupt);
    const most = Math.min(size, longestHeader);
    // The header does not say how long it is: it is read again, longer, where it goes on beyond what has been read.
    for (let length = 2 ** 20; ; length *= 4) {
      const bytes = await readBytes(handle, file, 0, Math.min(length, most), corrupt);
      try {
        return parseHeader(Buffer.from(bytes.buffer, 0, bytes.length), file, size);
      } catch (error) {
        if (error instanceof BadBytes) throw damaged(file, error.message, error);
        if (!(error instanceof EndOfBytes)) throw error;
        if (length < most) continue;
        if (most === size) throw damaged(file, `is truncated: its header goes on beyond its ${size} bytes`);
        throw damaged(file, `its header has more than ${most} bytes`);
      }
    }
  } finally {
    await handle.close();
  }
}

/** Whether a file is GGUF: by its name, or by how it begins (a cache's files have digests for names). */
export async function isGgufFile(file: string): Promise<boolean> {
  if (/\.gguf$/i.test(file)) return true;
  const handle = await openRegularFile(file, checkpointErrors);
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(4), 0, 4, 0);
    return bytesRead === 4 && buffer.readUInt32LE() === magic;
  } finally {
    await handle.close();
  }
}

function damaged(file: string, what: string, cause?: unknown): CodedError {
  return new CodedError("CHECKPOINT_CORRUPT", `${file}: ${what}`, { hint: "Download or copy the file again", cause });
}

function parseHeader(bytes: Buffer, file: string, size: number): GgufHeader {
  const cursor = new Cursor(bytes);
  if (cursor.u32() !== magic) throw new BadBytes('is not a GGUF file: it does not begin with "GGUF"');
  const version = checkVersion(cursor.u32(), file);
  const tensorCount = cursor.size("the number of tensors", mostTensors);
  const keyCount = cursor.size("the number of metadata keys", mostKeys);
  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < keyCount; i++) {
    const key = cursor.string("the length of a metadata key", longestName);
    if (metadata.has(key)) throw new BadBytes(`metadata key ${quote(key)} is given twice`);
    metadata.set(
      key,
      about(`metadata ${quote(key)}`, () => cursor.value()),
    );
  }
  const alignment = metadata.get("general.alignment") ?? 32;
  if (typeof alignment !== "number" || !isPowerOfTwo(alignment) || alignment > 2 ** 20) {
    throw new BadBytes(`general.alignment is ${String(alignment).slice(0, 40)}, not a power of two up to 2^20`);
  }
  const table = new Map<string, Omit<GgufTensor, "file">>();
  for (let i = 0; i < tensorCount; i++) {
    const name = cursor.string("the length of a tensor's name", longestName);
    if (table.has(name)) throw new BadBytes(`tensor ${quote(name)} is given twice`);
    table.set(
      name,
      about(`tensor ${quote(name)}`, () => tensorOf(cursor, alignment)),
    );
  }
  const start = Math.ceil(cursor.position / alignment) * alignment;
  const tensors = new Map<string, GgufTensor>();
  for (const [name, tensor] of table) tensors.set(name, { ...tensor, file, offset: start + tensor.offset });
  checkRanges(tensors, size);
  return { file, version, metadata, tensors };
}

/** "GGUF", read as little-endian. */
const magic = 0x46554747;

function checkVersion(version: number, file: string): number {
  if (version === 2 || version === 3) return version;
  const bigEndian = version !== 0 && (version & 0xffff) === 0;
  const what = bigEndian ? "is a big-endian GGUF file" : `has version ${version} of GGUF`;
  throw new CodedError("CHECKPOINT_UNSUPPORTED", `${file}: ${what}; versions 2 and 3, little-endian, can be read`, {
    hint: "Take a newer GGUF file of the same model",
  });
}

function tensorOf(cursor: Cursor, alignment: number): Omit<GgufTensor, "file"> {
  const dimensions = cursor.u32();
  if (dimensions < 1 || dimensions > 4) throw new BadBytes(`has ${dimensions} dimensions, 1 to 4 are possible`);
  const shape = Array.from({ length: dimensions }, () => cursor.size("a dimension", Number.MAX_SAFE_INTEGER)).reverse();
  const id = cursor.u32();
  const type = ggmlTypes.get(id);
  if (type === undefined) throw new BadBytes(`has type ${id}, which is not known`);
  const offset = cursor.size("the offset", Number.MAX_SAFE_INTEGER);
  if (offset % alignment !== 0) throw new BadBytes(`begins at ${offset}, which is no multiple of ${alignment}`);
  return { offset, bytes: tensorBytes(shape, type), dtype: type.name, shape };
}

function tensorBytes(shape: readonly number[], { name, elements, bytes }: GgmlType): number {
  const row = shape.at(-1)!;
  if (row % elements !== 0)
    throw new BadBytes(`has rows of ${row}, which are not whole blocks of ${name} (${elements})`);
  let count = 1;
  for (const size of shape) {
    count *= size;
    if (size === 0 || !Number.isSafeInteger(count)) throw new BadBytes(`of shape [${shape}] has an impossible size`);
  }
  const total = (count / elements) * bytes;
  if (!Number.isSafeInteger(total)) throw new BadBytes(`of shape [${shape}] has an impossible size`);
  return total;
}

/** Every tensor lies in the file, and none on another. */
function checkRanges(tensors: ReadonlyMap<string, GgufTensor>, size: number): void {
  let end = 0;
  let before = "";
  for (const [name, { offset, bytes }] of [...tensors].sort(([, a], [, b]) => a.offset - b.offset)) {
    if (offset < end) throw new BadBytes(`tensor ${quote(name)} overlaps tensor ${quote(before)}`);
    end = offset + bytes;
    if (end > size) {
      throw new BadBytes(`is truncated: tensor ${quote(name)} ends at byte ${end}, the file has ${size}`);
    }
    before = name;
  }
}

/** Names what the bytes are about in the error. */
function about<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof BadBytes) throw new BadBytes(`${what}: ${error.message}`);
    throw error;
  }
}

function isPowerOfTwo(value: number): boolean {
  return Number.isInteger(value) && value >= 1 && Number.isInteger(Math.log2(value));
}

function quote(name: string): string {
  return JSON.stringify(name.length > 200 ? `${name.slice(0, 200)}...` : name);
}

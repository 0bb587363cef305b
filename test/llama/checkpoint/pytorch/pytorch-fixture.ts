/** Pickles and stored zip archives as torch.save writes them, and such as it never would. */

export interface Member {
  readonly name: string;
  readonly data: Uint8Array;
}

export interface FixtureTensor {
  readonly shape: readonly number[];
  readonly data: Uint8Array;
  /** By default FloatStorage. */
  readonly storage?: string;
  readonly width?: number;
}

const ascii = (text: string) => Buffer.from(text, "latin1");

/** Opcodes of a pickle, by name. */
export const op = {
  start: Buffer.from([0x80, 2]),
  stop: ascii("."),
  mark: ascii("("),
  dict: ascii("}"),
  list: ascii("]"),
  emptyTuple: ascii(")"),
  tuple: ascii("t"),
  setItems: ascii("u"),
  append: ascii("a"),
  call: ascii("R"),
  build: ascii("b"),
  persistent: ascii("Q"),
  none: ascii("N"),
  false: Buffer.from([0x89]),
  global: (module: string, name: string) => ascii(`c${module}\n${name}\n`),
  text: (value: string) => {
    const bytes = Buffer.from(value);
    return Buffer.concat([ascii("X"), u32(bytes.length), bytes]);
  },
  integer: (value: number) => {
    if (Number.isInteger(value) && value >= 0 && value < 2 ** 31) return Buffer.concat([ascii("J"), u32(value)]);
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(BigInt(value));
    return Buffer.concat([Buffer.from([0x8a, 8]), bytes]);
  },
  integers: (values: readonly number[]) =>
    Buffer.concat([op.mark, ...values.map((value) => op.integer(value)), op.tuple]),
};

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

export function pickle(...parts: Uint8Array[]): Buffer {
  return Buffer.concat([op.start, ...parts, op.stop]);
}

/** What rebuilds a tensor; contiguous where no strides are given. */
export function tensorCode(view: {
  key: string;
  count: number;
  shape: readonly number[];
  strides?: readonly number[];
  offset?: number;
  storage?: string;
}): Buffer {
  const { key, count, shape, offset = 0, storage = "FloatStorage" } = view;
  const strides = view.strides ?? shape.map((_, i) => shape.slice(i + 1).reduce((product, size) => product * size, 1));
  const id = [op.text("storage"), op.global("torch", storage), op.text(key), op.text("cpu"), op.integer(count)];
  return Buffer.concat([
    op.global("torch._utils", "_rebuild_tensor_v2"),
    ...[op.mark, op.mark, ...id, op.tuple, op.persistent],
    ...[op.integer(offset), op.integers(shape), op.integers(strides), op.false],
    ...[op.global("collections", "OrderedDict"), op.emptyTuple, op.call, op.tuple, op.call],
  ]);
}

/** The pickle of a state dict. */
export function dictCode(values: readonly (readonly [name: string, code: Uint8Array])[]): Buffer {
  return Buffer.concat([op.dict, op.mark, ...values.flatMap(([name, code]) => [op.text(name), code]), op.setItems]);
}

/** A file of torch.save: each tensor in a storage of its own. */
export function pytorchFile(tensors: ReadonlyMap<string, FixtureTensor>, root = "archive"): Buffer {
  const codes: [string, Buffer][] = [];
  const members: Member[] = [];
  for (const [name, { shape, data, storage = "FloatStorage", width = 4 }] of tensors) {
    const key = String(members.length);
    codes.push([name, tensorCode({ key, count: data.length / width, shape, storage })]);
    members.push({ name: `${root}/data/${key}`, data });
  }
  return zip([{ name: `${root}/data.pkl`, data: pickle(dictCode(codes)) }, ...members]);
}

export interface ZipOptions {
  /** Bytes of a member that are not written: a hole of a sparse file follows its data. */
  readonly holes?: ReadonlyMap<string, number>;
  /** Writes sizes and places into zip64's fields. */
  readonly wide?: boolean;
  readonly method?: number;
}

/** A zip archive of stored members in memory. */
export function zip(members: readonly Member[], options: ZipOptions = {}): Buffer {
  return Buffer.concat(zipParts(members, options).map(({ bytes }) => bytes));
}

/** The written parts of an archive, each with its place: between them are the holes. */
export function zipParts(
  members: readonly Member[],
  { holes = new Map(), wide = false, method = 0 }: ZipOptions = {},
): { at: number; bytes: Buffer }[] {
  const parts: { at: number; bytes: Buffer }[] = [];
  const entries: Buffer[] = [];
  let at = 0;
  for (const { name, data } of members) {
    const size = data.length + (holes.get(name) ?? 0);
    const local = Buffer.concat([head(0x04034b50, method, wide ? 0xffffffff : size), ascii(name), padding(at, name)]);
    local.writeUInt16LE(Buffer.byteLength(name), 26);
    local.writeUInt16LE(padding(at, name).length, 28);
    parts.push({ at, bytes: Buffer.concat([local, data]) });
    entries.push(entry(name, { size, at, wide, method }));
    at += local.length + size;
  }
  const directory = Buffer.concat(entries);
  parts.push({
    at,
    bytes: Buffer.concat([directory, end({ count: members.length, bytes: directory.length, at, wide })]),
  });
  return parts;
}

/** Data begin at a multiple of 64, as PyTorch's do. */
function padding(at: number, name: string): Buffer {
  const missing = (64 - ((at + 30 + name.length + 4) % 64)) % 64;
  const extra = Buffer.alloc(4 + missing);
  extra.write("FB", "latin1");
  extra.writeUInt16LE(missing, 2);
  return extra;
}

/** The fixed part of a local header: sizes at 18 and 22, lengths of name and extra at 26 and 28. */
function head(signature: number, method: number, size: number): Buffer {
  const bytes = Buffer.alloc(30);
  bytes.writeUInt32LE(signature, 0);
  bytes.writeUInt16LE(method, 8);
  bytes.writeUInt32LE(size, 18);
  bytes.writeUInt32LE(size, 22);
  return bytes;
}

function entry(name: string, { size, at, wide, method }: { size: number; at: number; wide: boolean; method: number }) {
  const bytes = Buffer.alloc(46);
  const extra = wide ? Buffer.concat([Buffer.from([1, 0, 24, 0]), u64(size), u64(size), u64(at)]) : Buffer.alloc(0);
  bytes.writeUInt32LE(0x02014b50, 0);
  bytes.writeUInt16LE(method, 10);
  for (const [place, value] of [
    [20, size],
    [24, size],
    [42, at],
  ] as const)
    bytes.writeUInt32LE(wide ? 0xffffffff : value, place);
  bytes.writeUInt16LE(Buffer.byteLength(name), 28);
  bytes.writeUInt16LE(extra.length, 30);
  return Buffer.concat([bytes, ascii(name), extra]);
}

function end({ count, bytes, at, wide }: { count: number; bytes: number; at: number; wide: boolean }): Buffer {
  const record = Buffer.alloc(22);
  record.writeUInt32LE(0x06054b50, 0);
  record.writeUInt16LE(wide ? 0xffff : count, 8);
  record.writeUInt16LE(wide ? 0xffff : count, 10);
  record.writeUInt32LE(wide ? 0xffffffff : bytes, 12);
  record.writeUInt32LE(wide ? 0xffffffff : at, 16);
  if (!wide) return record;
  const wideEnd = Buffer.concat([u32(0x06064b50), u64(44), Buffer.alloc(12), ...[count, count, bytes, at].map(u64)]);
  return Buffer.concat([wideEnd, u32(0x07064b50), u32(0), u64(at + bytes), u32(1), record]);
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

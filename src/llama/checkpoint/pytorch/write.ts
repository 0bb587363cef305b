import type { WeightType } from "../../../engine/engine.ts";
import { writeWhole } from "../../../temporary/whole.ts";
import { widthOf } from "../narrow.ts";
import { encodedParts, type StreamedTensor, tensorBytes } from "../safetensors-writer.ts";
import { ZipWriter } from "./zip-writer.ts";

/** A second name of a tensor, which has no numbers of its own. */
export interface Alias {
  readonly name: string;
  readonly of: string;
}

/**
 * Writes a state dict as torch.save does (zip of stored members, pickle of protocol 2), for torch.load(weights_only=True).
 * The file appears complete or not at all.
 * @param root folder in the archive, which torch names after the file
 */
export async function writePytorch(
  file: string,
  root: string,
  tensors: readonly StreamedTensor[],
  aliases: readonly Alias[] = [],
  onBytes: (bytes: number) => void = () => {},
): Promise<void> {
  await writeWhole(file, async (handle) => {
    const zip = new ZipWriter(handle);
    const whole = async (name: string, bytes: Buffer) => zip.add(`${root}/${name}`, bytes.length, [bytes]);
    await whole("data.pkl", pickled(tensors, aliases));
    await whole("byteorder", Buffer.from("little"));
    for (const [key, tensor] of tensors.entries()) {
      await zip.add(`${root}/data/${key}`, tensorBytes(tensor), told(tensor, onBytes));
    }
    await whole("version", Buffer.from("3\n"));
    await zip.end();
  });
}

async function* told(tensor: StreamedTensor, onBytes: (bytes: number) => void) {
  for await (const bytes of encodedParts(tensor)) {
    yield bytes;
    onBytes(bytes.length);
  }
}

const storages: Readonly<Record<WeightType, string>> = {
  F32: "FloatStorage",
  F16: "HalfStorage",
  BF16: "BFloat16Storage",
};
const op = {
  proto: Buffer.of(0x80, 2),
  mark: Buffer.from("("),
  tuple: Buffer.from("t"),
  emptyTuple: Buffer.from(")"),
  reduce: Buffer.from("R"),
  persistentId: Buffer.from("Q"),
  newFalse: Buffer.of(0x89),
  setItems: Buffer.from("u"),
  stop: Buffer.from("."),
};

/** OrderedDict of name -> torch._utils._rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict()). */
function pickled(tensors: readonly StreamedTensor[], aliases: readonly Alias[]): Buffer {
  const keys = new Map(tensors.map(({ name }, key) => [name, key]));
  const entries = tensors.flatMap((tensor, key) => [text(tensor.name), ...rebuilt(tensor, key)]);
  for (const { name, of } of aliases) entries.push(text(name), ...rebuilt(tensors[keys.get(of)!]!, keys.get(of)!));
  return Buffer.concat([op.proto, ...emptyDict(), op.mark, ...entries, op.setItems, op.stop]);
}

function rebuilt(tensor: StreamedTensor, key: number): Buffer[] {
  const { shape, dtype = "F32" } = tensor;
  const count = tensorBytes(tensor) / widthOf(dtype);
  const strides = shape.map((_, i) => shape.slice(i + 1).reduce((product, size) => product * size, 1));
  return [
    global("torch._utils", "_rebuild_tensor_v2"),
    op.mark,
    ...[
      op.mark,
      text("storage"),
      global("torch", storages[dtype]),
      text(String(key)),
      text("cpu"),
      integer(count),
      op.tuple,
    ],
    op.persistentId,
    integer(0),
    ...[op.mark, ...shape.map(integer), op.tuple],
    ...[op.mark, ...strides.map(integer), op.tuple],
    op.newFalse,
    ...emptyDict(),
    op.tuple,
    op.reduce,
  ];
}

function emptyDict(): Buffer[] {
  return [global("collections", "OrderedDict"), op.emptyTuple, op.reduce];
}

function global(module: string, name: string): Buffer {
  return Buffer.from(`c${module}\n${name}\n`);
}

/** BINUNICODE */
function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  const head = Buffer.from("X\0\0\0\0");
  head.writeUInt32LE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

/** BININT, or LONG1 of eight bytes. */
function integer(value: number): Buffer {
  if (value < 2 ** 31) {
    const bytes = Buffer.from("J\0\0\0\0");
    bytes.writeInt32LE(value, 1);
    return bytes;
  }
  const bytes = Buffer.alloc(10);
  bytes.set([0x8a, 8]);
  bytes.writeBigInt64LE(BigInt(value), 2);
  return bytes;
}

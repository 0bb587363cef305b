import type { FileHandle } from "node:fs/promises";
import { openRegularFile, readBytes } from "../../regular-file.ts";
import { refuseImpostor } from "../../tokenizer/impostor.ts";
import { memberData, readZipDirectory, type ZipMember } from "../../zip-directory.ts";
import { localSignature } from "../../zip-format.ts";
import { isLegacy, readLegacy } from "./legacy.ts";
import { unpickle } from "./pickle.ts";
import { type PytorchErrors, pytorchErrors, quoted, Refusal } from "./refusal.ts";
import { namedTensors, type PytorchEntry, placeTensor } from "./tensors.ts";

/** A state dict of a million tensors is none; one of a thousand takes 200 KB. */
const usualLimit = 16 * 2 ** 20;

/**
 * The tensors of a file that torch.save wrote (.bin, .pt, .pth) by name: a state dict, alone or under "state_dict" or
 * "model". Tensors and nothing else are understood, and nothing in the file is run. No tensor's data is read, nor a
 * directory or pickle of more than `mostBytes`.
 * @throws errors.missing, errors.corrupt for damage, errors.unsupported naming an object that is no tensor
 */
export async function readPytorchHeader(
  file: string,
  errors: PytorchErrors = pytorchErrors,
  mostBytes = usualLimit,
): Promise<ReadonlyMap<string, PytorchEntry>> {
  const handle = await openRegularFile(file, errors);
  const refusal = new Refusal(file, errors);
  try {
    const { size } = await handle.stat();
    const start = await readBytes(handle, file, 0, Math.min(size, 512), errors.corrupt);
    refuseImpostor(start, file, errors.corrupt);
    if (isLegacy(start)) return await readLegacy(handle, size, mostBytes, refusal);
    const isZip = start.length >= 4 && Buffer.from(start.buffer, start.byteOffset).readUInt32LE() === localSignature;
    if (!isZip) return refusal.corrupt(`is no file of PyTorch's (${size} bytes, neither a zip archive nor a pickle)`);
    return await readZip(handle, size, mostBytes, refusal);
  } finally {
    await handle.close();
  }
}

async function readZip(handle: FileHandle, size: number, mostBytes: number, refusal: Refusal) {
  const members = await readZipDirectory(handle, size, mostBytes, refusal);
  refuseDeflated(members, refusal);
  const root = rootFolder(members, refusal);
  await refuseBigEndian(handle, members.get(`${root}/byteorder`), refusal);
  const pickle = members.get(`${root}/data.pkl`)!;
  if (pickle.bytes > mostBytes) {
    refusal.corrupt(`its pickle has ${pickle.bytes} bytes; the tensors that belong into it need ${mostBytes} at most`);
  }
  const { value } = unpickle(await readMember(handle, pickle, refusal), 0, refusal);
  const places = new Map<string, number>();
  const tensors = new Map<string, PytorchEntry>();
  for (const [name, tensor] of namedTensors(value, refusal)) {
    const { key } = tensor.storage;
    const member = members.get(`${root}/data/${key}`);
    if (member === undefined) return refusal.corrupt(`storage ${quoted(key)} of tensor ${quoted(name)} is missing`);
    const offset = places.get(key) ?? (await memberData(handle, member, refusal));
    places.set(key, offset);
    tensors.set(name, placeTensor(name, tensor, { offset, bytes: member.bytes }, refusal));
  }
  return tensors;
}

/** Tensors are read where they lie. */
function refuseDeflated(members: ReadonlyMap<string, ZipMember>, refusal: Refusal): void {
  for (const { name, isDeflated } of members.values()) {
    if (!isDeflated) continue;
    refusal.unsupported(
      `${quoted(name)} in it is compressed`,
      "Save it again with torch.save, which stores tensors as they are",
    );
  }
}

/** The folder in the archive, which is named after the file it was written to first. */
function rootFolder(members: ReadonlyMap<string, ZipMember>, refusal: Refusal): string {
  const roots = [...members.keys()].flatMap((name) => /^([^/]+)\/data\.pkl$/.exec(name)?.[1] ?? []);
  if (roots.length > 1) refusal.corrupt("holds several pickles");
  return (
    roots[0] ?? refusal.unsupported("is a zip archive that PyTorch did not write", "Unpack it into a folder of its own")
  );
}

async function refuseBigEndian(handle: FileHandle, member: ZipMember | undefined, refusal: Refusal): Promise<void> {
  // Files before PyTorch 2.1 do not say, and are little-endian.
  if (member === undefined) return;
  const order = member.bytes <= 16 ? Buffer.from(await readMember(handle, member, refusal)).toString("latin1") : "";
  if (order.trim() === "little") return;
  refusal.unsupported(
    `its numbers are in ${order.trim() === "big" ? "big-endian" : "an unknown"} byte order`,
    "Save it on a little-endian machine (x86, ARM)",
  );
}

async function readMember(handle: FileHandle, member: ZipMember, refusal: Refusal): Promise<Uint8Array> {
  const offset = await memberData(handle, member, refusal);
  return readBytes(handle, refusal.file, offset, member.bytes, refusal.errors.corrupt);
}

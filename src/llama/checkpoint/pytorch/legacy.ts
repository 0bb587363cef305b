import type { FileHandle } from "node:fs/promises";
import { readBytes } from "../../regular-file.ts";
import { unpickle } from "./pickle.ts";
import { quoted, type Refusal } from "./refusal.ts";
import { namedTensors, type PytorchEntry, placeTensor, type StoragePlace, storageBytes } from "./tensors.ts";
import { Dict, type Storage, type Value } from "./values.ts";

/** A pickle that begins with the number which PyTorch before 1.6 wrote first. */
const magic = Buffer.from("80028a0a6cfc9c46f9206aa850192e", "hex");

export function isLegacy(start: Uint8Array): boolean {
  return start.length >= magic.length && magic.equals(start.subarray(0, magic.length));
}

/**
 * The tensors of a file as PyTorch before 1.6 wrote it: pickles of a version, of the machine, of the object and of the list of its
 * storages; then for each storage the count of its elements (64 bits) and their bytes.
 * https://github.com/pytorch/pytorch/blob/main/torch/serialization.py (_legacy_save)
 */
export async function readLegacy(
  handle: FileHandle,
  size: number,
  mostBytes: number,
  refusal: Refusal,
): Promise<ReadonlyMap<string, PytorchEntry>> {
  const start = await readBytes(handle, refusal.file, 0, Math.min(size, mostBytes), refusal.errors.corrupt);
  let end = magic.length;
  const next = () => {
    const pickle = unpickle(start, end, refusal);
    end = pickle.end;
    return pickle;
  };
  if (next().value !== 1001) refusal.corrupt("is of a version of PyTorch's format that is not known");
  refuseBigEndian(next().value, refusal);
  const { value, storages } = next();
  const tensors = namedTensors(value, refusal);
  const keys = next().value;
  const places = await storagePlaces(handle, size, { keys, end, storages }, refusal);
  const entries = new Map<string, PytorchEntry>();
  for (const [name, tensor] of tensors) {
    const { key } = tensor.storage;
    const place = places.get(key);
    if (place === undefined) return refusal.corrupt(`storage ${quoted(key)} of tensor ${quoted(name)} is missing`);
    entries.set(name, placeTensor(name, tensor, place, refusal));
  }
  return entries;
}

function refuseBigEndian(machine: Value, refusal: Refusal): void {
  const isLittle =
    machine instanceof Dict && [...machine.entries()].some(([k, v]) => k === "little_endian" && v === true);
  if (!isLittle) refusal.unsupported("its numbers are in big-endian byte order", "Save it on a little-endian machine");
}

interface LegacyStorages {
  readonly keys: Value;
  /** Where the data begin: bytes of the file. */
  readonly end: number;
  readonly storages: ReadonlyMap<string, Storage>;
}

/** Every storage's place; one after another they fill the rest of the file. */
async function storagePlaces(
  handle: FileHandle,
  size: number,
  { keys, end, storages }: LegacyStorages,
  refusal: Refusal,
): Promise<Map<string, StoragePlace>> {
  const places = new Map<string, StoragePlace>();
  if (!Array.isArray(keys)) return refusal.corrupt("its list of storages is none");
  let at = end;
  for (const key of keys) {
    const storage = typeof key === "string" ? storages.get(key) : undefined;
    if (storage === undefined || places.has(storage.key)) return refusal.corrupt("its list of storages is damaged");
    const count = await readBytes(handle, refusal.file, at, 8, refusal.errors.corrupt);
    const written = Buffer.from(count.buffer).readBigUInt64LE();
    if (written !== BigInt(storage.count)) {
      return refusal.corrupt(`storage ${quoted(storage.key)} has ${written} elements, not ${storage.count}`);
    }
    places.set(storage.key, { offset: at + 8, bytes: storageBytes(storage) });
    at += 8 + storageBytes(storage);
    if (at > size) return refusal.corrupt(`is truncated: it needs ${at} bytes at least and has ${size}`);
  }
  return places;
}

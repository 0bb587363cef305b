import { dtypes, storageTypes, untypedStorages } from "./dtypes.ts";
import { quoted, type Refusal } from "./refusal.ts";
import { Dict, Global, Ignored, PickledTensor, Storage, Tuple, type Value } from "./values.ts";

type Call = (args: readonly Value[], refusal: Refusal) => Value;

/** Every function and class that is called, with what is done in its place. Nothing is ever looked up by a name from a file. */
const calls: ReadonlyMap<string, Call> = new Map<string, Call>([
  ["collections.OrderedDict", orderedDict],
  ["torch._utils._rebuild_tensor", tensor],
  ["torch._utils._rebuild_tensor_v2", tensor],
  ["torch._utils._rebuild_tensor_v3", tensorOfType],
  ["torch._utils._rebuild_parameter", parameter],
  ["torch._utils._rebuild_parameter_with_state", parameter],
  ["torch.Size", ([sizes], refusal) => (sizes instanceof Tuple ? sizes : wrongArguments("torch.Size", refusal))],
  ["torch.device", () => new Ignored()],
]);

/** @throws unsupported naming what is not in the allowlist */
export function findGlobal(module: string, name: string, refusal: Refusal): Global {
  const full = `${module}.${name}`;
  if (calls.has(full) || storageTypes.has(full) || untypedStorages.has(full) || dtypes.has(full))
    return new Global(full);
  return refusal.unsupported(
    `holds the Python object ${quoted(full)}; only tensors are read, and nothing in a file is run`,
    "Save the tensors alone, torch.save(model.state_dict(), file), or take the safetensors files of the same model",
  );
}

/** What calling a global gives. */
export function callGlobal(callee: Value, args: Value, refusal: Refusal): Value {
  const call = callee instanceof Global ? calls.get(callee.name) : undefined;
  if (call === undefined || !(args instanceof Tuple)) return refusal.corrupt("its pickle calls what is no function");
  return call(args.items, refusal);
}

/** ("storage", class, key, location, count) and for files before PyTorch 1.6 a sixth item, null. */
export function persistentStorage(id: Value, refusal: Refusal): Storage {
  const items = id instanceof Tuple ? id.items : [];
  const [kind, type, key, , count, view = null] = items;
  if (kind !== "storage" || !(type instanceof Global) || typeof key !== "string" || !isCount(count)) {
    return refusal.corrupt("its pickle refers to something other than a storage");
  }
  if (view !== null) {
    return refusal.unsupported(
      `storage ${quoted(key)} is a view of another`,
      "Save it again with PyTorch 1.6 or later",
    );
  }
  const dtype = storageTypes.get(type.name);
  if (dtype !== undefined) return new Storage(key, dtype, count);
  if (untypedStorages.has(type.name)) return new Storage(key, null, count);
  return refusal.corrupt(`storage ${quoted(key)} is of class ${quoted(type.name)}, which is none of a storage`);
}

function orderedDict(args: readonly Value[], refusal: Refusal): Dict {
  const dict = new Dict();
  const [pairs] = args;
  if (pairs === undefined) return dict;
  if (!Array.isArray(pairs)) return wrongArguments("OrderedDict", refusal);
  for (const pair of pairs) {
    const items = pair instanceof Tuple ? pair.items : Array.isArray(pair) ? pair : [];
    if (items.length !== 2) return wrongArguments("OrderedDict", refusal);
    dict.set(items[0]!, items[1]!);
  }
  return dict;
}

/** storage, offset, shape, strides; what follows (gradients, hooks) is of no use here. */
function tensor(args: readonly Value[], refusal: Refusal): PickledTensor {
  const [storage] = args;
  if (!(storage instanceof Storage) || storage.dtype === null) return wrongArguments("_rebuild_tensor", refusal);
  return view(storage, storage.dtype, args, refusal);
}

/** The seventh argument is the type of number. */
function tensorOfType(args: readonly Value[], refusal: Refusal): PickledTensor {
  const storage = args[0];
  const type = args[6];
  const dtype = type instanceof Global ? dtypes.get(type.name) : undefined;
  if (!(storage instanceof Storage) || dtype === undefined) return wrongArguments("_rebuild_tensor_v3", refusal);
  return view(storage, dtype, args, refusal);
}

const mostDimensions = 64;

function view(storage: Storage, dtype: string, args: readonly Value[], refusal: Refusal): PickledTensor {
  const [, offset, shape, strides] = args;
  const isRight =
    isCount(offset) && isCounts(shape) && isCounts(strides) && shape.items.length === strides.items.length;
  if (!isRight || shape.items.length > mostDimensions) return wrongArguments("_rebuild_tensor", refusal);
  return new PickledTensor(storage, dtype, offset, shape.items, strides.items);
}

function parameter([data]: readonly Value[], refusal: Refusal): PickledTensor {
  return data instanceof PickledTensor ? data : wrongArguments("_rebuild_parameter", refusal);
}

function wrongArguments(name: string, refusal: Refusal): never {
  return refusal.corrupt(`its pickle gives ${name} arguments that it does not take`);
}

function isCount(value: Value | undefined): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function isCounts(value: Value | undefined): value is Tuple & { readonly items: readonly number[] } {
  return value instanceof Tuple && value.items.every(isCount);
}

import { callGlobal, findGlobal, persistentStorage } from "./globals.ts";
import type { Machine } from "./machine.ts";
import { narrowed, type PickleBytes } from "./pickle-bytes.ts";
import { Dict, Tuple, type Value } from "./values.ts";

export type Operation = (machine: Machine) => void;

const push =
  (read: (bytes: PickleBytes, machine: Machine) => Value): Operation =>
  (machine) =>
    machine.push(read(machine.bytes, machine));

const tuple =
  (size: number): Operation =>
  (machine) => {
    const items = Array.from({ length: size }, () => machine.pop());
    machine.push(new Tuple(items.reverse()));
  };

const call: Operation = (machine) => {
  const args = machine.pop();
  machine.push(callGlobal(machine.pop(), args, machine.refusal));
};

const global = (module: Value, name: Value, machine: Machine) =>
  typeof module === "string" && typeof name === "string"
    ? findGlobal(module, name, machine.refusal)
    : machine.refusal.corrupt("its pickle names a class by something other than text");

/**
 * The opcodes that build data, by the letter that pickletools lists them under; those past 0x7f are of protocol 2 and later.
 * Left out: INST, OBJ, NEWOBJ_EX, EXT*, PERSID and those of buffers beside the file.
 */
export const operations: ReadonlyMap<number, Operation> = new Map<number, Operation>([
  ...byLetter({
    "(": (machine) => machine.mark(),
    "0": (machine) => void machine.pop(),
    "1": (machine) => void machine.popToMark(),
    N: push(() => null),
    J: push((bytes) => bytes.i32()),
    K: push((bytes) => bytes.u8()),
    M: push((bytes) => bytes.u16()),
    I: push((bytes, machine) => decimalInteger(bytes.line(), machine)),
    L: push((bytes, machine) => decimalInteger(bytes.line().replace(/L$/, ""), machine)),
    F: push((bytes) => Number.parseFloat(bytes.line())),
    G: push((bytes) => bytes.f64()),
    V: push((bytes) => bytes.line()),
    X: push((bytes) => bytes.utf8(bytes.u32())),
    U: push((bytes) => bytes.latin1(bytes.u8())),
    T: push((bytes) => bytes.latin1(bytes.u32())),
    B: push((bytes) => bytes.take(bytes.u32())),
    C: push((bytes) => bytes.take(bytes.u8())),
    ")": push(() => new Tuple([])),
    t: (machine) => machine.push(new Tuple(machine.popToMark())),
    "]": push(() => []),
    l: (machine) => machine.push(machine.popToMark()),
    a: (machine) => append(machine, [machine.pop()]),
    e: (machine) => append(machine, machine.popToMark()),
    "}": push(() => new Dict()),
    d: (machine) => {
      const items = machine.popToMark();
      machine.push(new Dict());
      setItems(machine, items);
    },
    s: (machine) => {
      const value = machine.pop();
      setItems(machine, [machine.pop(), value]);
    },
    u: (machine) => setItems(machine, machine.popToMark()),
    q: (machine) => machine.remember(machine.bytes.u8()),
    r: (machine) => machine.remember(machine.bytes.u32()),
    h: push((bytes, machine) => machine.recall(bytes.u8())),
    j: push((bytes, machine) => machine.recall(bytes.u32())),
    c: push((bytes, machine) => {
      const module = bytes.line();
      return global(module, bytes.line(), machine);
    }),
    R: call,
    // The state of an OrderedDict (_metadata) and of a parameter: nothing in it is weights.
    b: (machine) => void machine.pop(),
    Q: (machine) => machine.pushStorage(persistentStorage(machine.pop(), machine.refusal)),
  }),
  [0x80, (machine) => protocol(machine.bytes.u8(), machine)],
  [0x81, call],
  [0x85, tuple(1)],
  [0x86, tuple(2)],
  [0x87, tuple(3)],
  [0x88, push(() => true)],
  [0x89, push(() => false)],
  [0x8a, push((bytes) => bytes.integer(bytes.u8()))],
  [0x8b, push((bytes) => bytes.integer(bytes.u32()))],
  [0x8c, push((bytes) => bytes.utf8(bytes.u8()))],
  [0x8d, push((bytes) => bytes.utf8(bytes.u64()))],
  [0x8e, push((bytes) => bytes.take(bytes.u64()))],
  [0x8f, push(() => new Dict())],
  [
    0x90,
    (machine) =>
      setItems(
        machine,
        machine.popToMark().flatMap((item) => [item, null]),
      ),
  ],
  [
    0x93,
    push((_, machine) => {
      const name = machine.pop();
      return global(machine.pop(), name, machine);
    }),
  ],
  [0x94, (machine) => machine.remember()],
  // A frame's length; what it holds is read as it comes.
  [0x95, (machine) => void machine.bytes.u64()],
]);

function byLetter(named: Readonly<Record<string, Operation>>): [number, Operation][] {
  return Object.entries(named).map(([letter, operation]) => [letter.charCodeAt(0), operation]);
}

function protocol(version: number, machine: Machine): void {
  if (version > 5) machine.refusal.corrupt(`its pickle is of protocol ${version}`);
}

function append(machine: Machine, items: readonly Value[]): void {
  const top = machine.top();
  const list = Array.isArray(top) ? top : machine.refusal.corrupt("its pickle appends to what is no list");
  for (const item of items) list.push(item);
}

function setItems(machine: Machine, items: readonly Value[]): void {
  const dict = machine.top();
  if (!(dict instanceof Dict) || items.length % 2 !== 0)
    machine.refusal.corrupt("its pickle fills what is no dictionary");
  else for (let i = 0; i < items.length; i += 2) dict.set(items[i]!, items[i + 1]!);
}

function decimalInteger(text: string, machine: Machine): number | bigint | boolean {
  // Booleans of protocol 1.
  if (text === "00" || text === "01") return text === "01";
  if (!/^-?\d{1,40}$/.test(text)) return machine.refusal.corrupt("its pickle holds a number that is none");
  return narrowed(BigInt(text));
}

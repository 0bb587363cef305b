import { Machine } from "./machine.ts";
import { operations } from "./opcodes.ts";
import { PickleBytes } from "./pickle-bytes.ts";
import type { Refusal } from "./refusal.ts";
import type { Storage, Value } from "./values.ts";

/** A tensor takes about 40. */
const mostOpcodes = 2 ** 18;

const stop = 0x2e;

export interface Pickle {
  readonly value: Value;
  readonly end: number;
  readonly storages: ReadonlyMap<string, Storage>;
}

/**
 * Reads one pickle of tensors, from `position` on: a virtual machine without the opcodes that reach Python, whose only
 * functions are the handlers in globals.ts. Nothing is imported, run or written; memory is bounded by the opcodes (2^18).
 * https://github.com/python/cpython/blob/main/Lib/pickletools.py
 * @returns the value, where the pickle ends, and every storage that it refers to by key
 */
export function unpickle(bytes: Uint8Array, position: number, refusal: Refusal): Pickle {
  const input = new PickleBytes(bytes, position, refusal);
  const machine = new Machine(input, refusal);
  for (let count = 0; count < mostOpcodes; count++) {
    const opcode = input.u8();
    if (opcode === stop) return { value: machine.pop(), end: input.position, storages: machine.storages };
    const operation = operations.get(opcode);
    if (operation === undefined) {
      refusal.corrupt(`its pickle uses opcode 0x${opcode.toString(16).padStart(2, "0")}, which no tensor needs`);
    }
    operation(machine);
  }
  return refusal.corrupt(`its pickle has more than ${mostOpcodes} opcodes`);
}

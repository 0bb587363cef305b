// As a namespace: Node before 20.15 has no crc32, and importing it by name would fail there.
import * as zlib from "node:zlib";

/** CRC-32 of zip archives, continued from `before`. */
export const crc32: (bytes: Uint8Array, before?: number) => number = zlib.crc32 ?? byTable;

const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb8_8320 : value >>> 1;
  return value;
});

export function byTable(bytes: Uint8Array, before = 0): number {
  let value = ~before;
  for (let i = 0; i < bytes.length; i++) value = table[(value ^ bytes[i]!) & 255]! ^ (value >>> 8);
  return ~value >>> 0;
}

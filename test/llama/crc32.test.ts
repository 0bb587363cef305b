import { describe, expect, it } from "vitest";
import { byTable, crc32 } from "../../src/llama/crc32.ts";

describe("the checksum of zip archives", () => {
  it.each([crc32, byTable])("is CRC-32, in one piece or several, with zlib's function or without it", (sum) => {
    // The check value of CRC-32/ISO-HDLC in the catalogue of parametrised CRC algorithms.
    expect(sum(Buffer.from("123456789"))).toBe(0xcbf43926);
    expect(sum(Buffer.from("6789"), sum(Buffer.from("12345")))).toBe(0xcbf43926);
  });
});

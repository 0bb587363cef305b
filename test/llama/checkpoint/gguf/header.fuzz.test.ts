import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { isCodedError } from "../../../../src/errors/index.ts";
import { Cursor } from "../../../../src/llama/checkpoint/gguf/cursor.ts";
import { readGgufHeader } from "../../../../src/llama/checkpoint/gguf/header.ts";
import { openGguf } from "../../../../src/llama/checkpoint/gguf/open.ts";
import { collectTensors } from "../../../../src/llama/checkpoint/tensors.ts";
import { bounded, damaged, expectLinear, valueOrCode } from "../../../fuzzing.ts";
import {
  ggufBytes,
  llamaMetadata,
  llamaTensors,
  scalar,
  type TensorToWrite,
  type Value,
  valueTypes,
} from "./gguf-file.ts";

const folder = mkdtempSync(join(tmpdir(), "gguf-fuzz-"));
const file = join(folder, "model.gguf");
afterAll(() => rmSync(folder, { recursive: true }));

const shape = { layers: 1, hidden: 32, intermediate: 32, heads: 2, kvHeads: 1, vocab: 8 };
const right = ggufBytes({
  metadata: [
    ...llamaMetadata(shape),
    ["tokenizer.ggml.tokens", ["array", "string", ["<s>", "a"]]],
    ["tokenizer.ggml.token_type", ["array", "i32", [3, 1]]],
  ],
  tensors: llamaTensors(shape).map(([name, sizes]) => {
    const bytes = new Uint8Array((34 * sizes.reduce((a, b) => a * b, 1)) / 32);
    return { name, shape: sizes, type: "Q8_0", bytes };
  }),
});

const key = fc.constantFrom(
  "general.alignment",
  "general.architecture",
  "llama.block_count",
  "split.count",
  "__proto__",
);
const size = fc.oneof(fc.nat(70), fc.constantFrom(2n ** 31n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n));
const value: fc.Arbitrary<Value> = fc.oneof(
  fc.tuple(fc.constantFrom("u32", "u8", "bool"), fc.nat(255)),
  fc.tuple(fc.constant("string"), fc.string({ maxLength: 8 })),
  fc.tuple(fc.constant("u64"), size),
  fc.tuple(fc.constant("array"), fc.constantFrom("u8", "string"), fc.array(fc.constant(1), { maxLength: 5 })),
) as fc.Arbitrary<Value>;
const tensor: fc.Arbitrary<TensorToWrite> = fc.record({
  name: fc.constantFrom("a", "b", "__proto__", "blk.0.attn_q.weight", "rope_freqs.weight"),
  shape: fc.array(size, { maxLength: 5 }),
  type: fc.constantFrom("F32", "Q8_0", "Q4_K", "IQ1_S", "99"),
  offset: fc.oneof(fc.nat(64), size),
});
const made = fc.record({
  version: fc.constantFrom(1, 2, 3, 3, 3, 2 ** 24),
  metadata: fc.array(fc.tuple(key, value), { maxLength: 4 }),
  tensors: fc.array(tensor, { maxLength: 4 }),
});
const bytes = fc.oneof(
  fc.tuple(made, fc.nat(200)).map(([gguf, room]) => Buffer.concat([ggufBytes(gguf), Buffer.alloc(room)])),
  damaged(right),
  fc.uint8Array().map(Buffer.from),
);

describe("whatever a GGUF file holds, its header", () => {
  it("describes tensors inside the file that do not overlap, or is refused with a code", async () => {
    const property = fc.asyncProperty(bytes, async (content) => {
      writeFileSync(file, content);
      const read = await valueOrCode(() => readGgufHeader(file), "CHECKPOINT_CORRUPT", "CHECKPOINT_UNSUPPORTED");
      if (isCodedError(read)) return;
      let end = 0;
      for (const entry of [...read.tensors.values()].sort((a, b) => a.offset - b.offset)) {
        expect(entry.offset).toBeGreaterThanOrEqual(end);
        end = entry.offset + entry.bytes;
        expect(end).toBeLessThanOrEqual(content.length);
      }
    });
    await fc.assert(property, bounded);
  });

  it("is a model's, or is refused with a code", async () => {
    const codes = ["CORRUPT", "UNSUPPORTED", "CONFIG", "TENSOR"].map(
      (code) => `CHECKPOINT_${code}` as "CHECKPOINT_CONFIG",
    );
    const property = fc.asyncProperty(damaged(right), async (content) => {
      writeFileSync(file, content);
      await valueOrCode(
        async () => {
          const { config, weights } = await openGguf(file);
          return collectTensors(config, weights);
        },
        ...codes,
      );
    });
    await fc.assert(property, bounded);
  });
});

describe("a GGUF value", () => {
  const list = (type: number, length: number) =>
    Buffer.concat([scalar("u32", valueTypes.array), scalar("u32", type), scalar("u64", length)]);
  it.each([
    ["empty texts", (length: number) => Buffer.concat([list(8, length / 8), Buffer.alloc(length)])],
    [
      "short texts",
      (length: number) => {
        const texts = Buffer.alloc(length, scalar("u64", 2).toString("latin1").concat("ab"), "latin1");
        return Buffer.concat([list(8, Math.floor(length / 10)), texts]);
      },
    ],
    ["numbers", (length: number) => Buffer.concat([list(4, length / 4), Buffer.alloc(length)])],
    [
      "one text",
      (length: number) => Buffer.concat([scalar("u32", 8), scalar("u64", length), Buffer.alloc(length, 65)]),
    ],
  ])("costs time in proportion to its length: %s", async (_, input) => {
    await expectLinear(input, (content: Buffer) => new Cursor(content).value());
  });
});

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { isCodedError } from "../../../../src/errors/index.ts";
import { unpickle } from "../../../../src/llama/checkpoint/pytorch/pickle.ts";
import { readPytorchHeader } from "../../../../src/llama/checkpoint/pytorch/read.ts";
import { readPytorchTensor } from "../../../../src/llama/checkpoint/pytorch/read-data.ts";
import { pytorchErrors, Refusal } from "../../../../src/llama/checkpoint/pytorch/refusal.ts";
import { bounded, damaged, expectLinear, valueOrCode } from "../../../fuzzing.ts";
import { dictCode, op, pickle, tensorCode, u32, zip } from "./pytorch-fixture.ts";

const folder = mkdtempSync(join(tmpdir(), "pytorch-"));
const file = join(folder, "model.bin");
afterAll(() => rmSync(folder, { recursive: true }));

const fixtures = join(import.meta.dirname, "fixtures");
const saved = readdirSync(fixtures)
  .filter((name) => name !== "README.md")
  .map((name) => readFileSync(join(fixtures, name)));

const count = fc.oneof(fc.nat(12), fc.constantFrom(-1, 2 ** 31, 2 ** 40, 2 ** 52, -(2 ** 52)));
const view = fc
  .record({
    key: fc.constantFrom("0", "1", "", "../0", "__proto__"),
    count,
    shape: fc.array(count, { maxLength: 4 }),
    strides: fc.array(count, { maxLength: 4 }),
    offset: count,
    storage: fc.constantFrom("FloatStorage", "HalfStorage", "UntypedStorage", "float16", "Size", "x"),
  })
  .map(tensorCode);
const piece = fc.oneof(
  view,
  fc.constantFrom(...Object.values(op).filter((code) => code instanceof Uint8Array)),
  fc.constantFrom(op.text("w"), op.text("model"), op.global("collections", "OrderedDict"), op.global("os", "system")),
  // Any other opcode, with what may be its operand.
  fc.uint8Array({ minLength: 1, maxLength: 9 }).map(Buffer.from),
);
const code = fc.oneof(
  fc.array(piece, { maxLength: 30 }).map((pieces) => pickle(...pieces)),
  fc
    .array(fc.tuple(fc.constantFrom("a", "b", "model"), view), { maxLength: 4 })
    .map((values) => pickle(dictCode(values))),
);
const member = fc.record({
  name: fc.constantFrom("a/data.pkl", "a/data/0", "a/data/1", "b/data.pkl", "a/byteorder", "../x", "a/data/__proto__"),
  data: fc.oneof(code, fc.uint8Array({ maxLength: 64 })),
});
const archive = fc
  .tuple(code, fc.array(member, { maxLength: 4 }), fc.boolean(), fc.constantFrom(0, 0, 0, 8))
  .map(([data, members, wide, method]) => {
    const storage = { name: "a/data/0", data: new Uint8Array(48) };
    return zip([{ name: "a/data.pkl", data }, storage, ...members], { wide, method });
  });
const bytes = fc.oneof(
  fc.constantFrom(...saved).chain(damaged),
  archive,
  archive.chain(damaged),
  fc.uint8Array().map(Buffer.from),
);

describe("whatever a PyTorch file holds, reading it", () => {
  it("gives tensors that lie in the file and can be read, or a coded error", async () => {
    const property = fc.asyncProperty(bytes, async (content) => {
      writeFileSync(file, content);
      const read = await valueOrCode(() => readPytorchHeader(file), "CHECKPOINT_CORRUPT", "CHECKPOINT_UNSUPPORTED");
      if (isCodedError(read)) return;
      expect(read.size).toBeGreaterThan(0);
      for (const entry of read.values()) {
        expect(entry.offset).toBeGreaterThanOrEqual(0);
        expect(entry.bytes).toBeLessThanOrEqual(content.length);
        expect((await readPytorchTensor(entry)).length).toBe(entry.bytes);
      }
    });
    await fc.assert(property, { ...bounded, numRuns: 600 });
  });

  it("reads the pickles of PyTorch's, damaged, or refuses them", () => {
    const property = fc.property(fc.oneof(...saved.map(damaged), code), (content) => {
      try {
        expect(unpickle(content, 0, new Refusal(file, pytorchErrors)).end).toBeLessThanOrEqual(content.length);
      } catch (error) {
        expect(isCodedError(error), String(error)).toBe(true);
      }
    });
    fc.assert(property, { ...bounded, numRuns: 2000 });
  });

  it.each([
    ["marks", (n: number) => Buffer.alloc(n, "(")],
    ["lists within lists", (n: number) => Buffer.concat([Buffer.alloc(n / 2, "]"), Buffer.alloc(n / 2, "a")])],
    ["tuples of tuples", (n: number) => Buffer.concat([Buffer.from(")"), Buffer.alloc(n, 0x85)])],
    ["a list that holds itself", (n: number) => Buffer.concat([Buffer.from("]q\0"), Buffer.alloc(n, "h\0a")])],
    ["dictionaries", (n: number) => Buffer.alloc(n, "}")],
    ["a line without an end", (n: number) => Buffer.alloc(n, "cc")],
    ["numbers in the memo", (n: number) => Buffer.concat([Buffer.from("N"), Buffer.alloc(n, 0x94)])],
    ["a text", (n: number) => Buffer.concat([Buffer.from("X"), u32(n), Buffer.alloc(n, "x")])],
    ["one list filled again and again", (n: number) => Buffer.concat([Buffer.from("]"), Buffer.alloc(n, "(NNe")])],
  ])("costs time in proportion to its length: %s", async (_, input) => {
    const read = (content: Uint8Array) => {
      try {
        return unpickle(content, 0, new Refusal(file, pytorchErrors));
      } catch (error) {
        return error;
      }
    };
    await expectLinear(input, read, 2 ** 18);
  });
});

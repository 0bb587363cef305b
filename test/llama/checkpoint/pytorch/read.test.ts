import { mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { CodedError } from "../../../../src/errors/index.ts";
import { readPytorchHeader } from "../../../../src/llama/checkpoint/pytorch/read.ts";
import { readPytorchTensor } from "../../../../src/llama/checkpoint/pytorch/read-data.ts";
import type { PytorchEntry } from "../../../../src/llama/checkpoint/pytorch/tensors.ts";
import { dictCode, op, pickle, pytorchFile, tensorCode, u32, zip } from "./pytorch-fixture.ts";

const fixture = (name: string) => join(import.meta.dirname, "fixtures", name);
const upTo = (count: number) => Array.from({ length: count }, (_, i) => i);

let folder: string;
let file: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "pytorch-"));
  file = join(folder, "model.bin");
});
afterAll(() => rm(folder, { recursive: true }));

async function tensor(name: string, of: string): Promise<PytorchEntry> {
  return (await readPytorchHeader(fixture(of))).get(name)!;
}

async function floats(name: string, of: string): Promise<number[]> {
  const bytes = await readPytorchTensor(await tensor(name, of));
  return [...new Float32Array(bytes.buffer)];
}

/** The refusal of a file with these bytes. */
async function refusal(bytes: Uint8Array): Promise<CodedError> {
  await writeFile(file, bytes);
  return readPytorchHeader(file).then(
    () => expect.unreachable("the file was read"),
    (error: CodedError) => error,
  );
}

const data = { name: "a/data/0", data: new Uint8Array(24) };
/** An archive with this pickle and a storage "0" of six floats. */
const archive = (code: Uint8Array, ...more: { name: string; data: Uint8Array }[]) =>
  zip([{ name: "a/data.pkl", data: code }, data, ...more]);
const view = (changes: object) => tensorCode({ key: "0", count: 6, shape: [2, 3], ...changes });
const one = (code: Uint8Array) => archive(pickle(dictCode([["w", code]])));

describe("a file that torch.save wrote", () => {
  it("gives tensors where they lie, of an OrderedDict with metadata too", async () => {
    const tensors = await readPytorchHeader(fixture("state-dict.bin"));
    expect([...tensors.keys()]).toEqual(["weight", "bias"]);
    expect(tensors.get("weight")).toMatchObject({ dtype: "BF16", shape: [2, 3], bytes: 12, strides: null });
    const { offset, bytes } = tensors.get("bias")!;
    const stored = (await readFile(fixture("state-dict.bin"))).subarray(offset, offset + bytes);
    expect([...stored]).toEqual([0x00, 0x3f, 0x00, 0xbf]);
  });

  it("gives views of a storage: contiguous ones where they lie, others by their strides", async () => {
    expect(await floats("w", "views.pt")).toEqual(upTo(24));
    expect(await tensor("rows", "views.pt")).toMatchObject({ shape: [2, 6], strides: null });
    expect(await floats("rows", "views.pt")).toEqual(upTo(12).map((i) => i + 6));
    expect(await tensor("transposed", "views.pt")).toMatchObject({ shape: [6, 4], strides: [1, 6] });
    expect(await floats("transposed", "views.pt")).toEqual(upTo(24).map((i) => (i % 4) * 6 + Math.floor(i / 4)));
    expect(await floats("column", "views.pt")).toEqual([2, 8, 14, 20]);
    expect(await floats("scalar", "views.pt")).toEqual([3.5]);
    expect(await tensor("empty", "views.pt")).toMatchObject({ shape: [0, 3], bytes: 0, strides: null });
  });

  it("gives two names of one storage the same place", async () => {
    const head = await tensor("head", "tied.bin");
    expect(head).toMatchObject({ dtype: "F16", shape: [4, 6] });
    expect(await tensor("embedding", "tied.bin")).toEqual(head);
  });

  it("gives the model beside other values, and parameters as tensors", async () => {
    const tensors = await readPytorchHeader(fixture("nested.pth"));
    expect([...tensors.keys()]).toEqual(["p"]);
    expect(await floats("p", "nested.pth")).toEqual(upTo(6));
  });

  it("is read as PyTorch before 1.6 wrote it", async () => {
    const tensors = await readPytorchHeader(fixture("legacy.pt"));
    expect([...tensors].map(([name, { dtype }]) => [name, dtype])).toEqual([
      ["a", "F32"],
      ["b", "F16"],
      ["ids", "I64"],
    ]);
    expect(await floats("a", "legacy.pt")).toEqual(upTo(6));
    const ids = await readPytorchTensor(tensors.get("ids")!);
    expect([...new BigInt64Array(ids.buffer)]).toEqual([0n, 1n, 2n]);
  });

  it("is read in other protocols of pickle, among values that are no tensors", async () => {
    expect(await floats("a", "protocol-4.pt")).toEqual(upTo(6));
    expect(await tensor("f8", "float8.pt")).toMatchObject({ dtype: "F8_E4M3", shape: [2] });
  });

  it("is read with zip64's fields", async () => {
    const members = [{ name: "a/data.pkl", data: pickle(dictCode([["w", view({})]])) }, data];
    await writeFile(file, zip(members, { wide: true }));
    expect((await readPytorchHeader(file)).get("w")).toMatchObject({ shape: [2, 3], bytes: 24 });
  });
});

describe("a PyTorch file that is refused", () => {
  it.each([
    ["os", "system"],
    ["posix", "system"],
    ["builtins", "eval"],
    ["builtins", "getattr"],
    ["torch", "load"],
    ["torch.hub", "load"],
    ["torch._utils", "_rebuild_tensor_v2.__globals__"],
    ["collections", "OrderedDict.__init__"],
    ["__main__", "x"],
  ])("names the Python object and runs nothing: %s.%s", async (module, name) => {
    const marker = join(folder, "was-run");
    const code = [op.global(module, name), op.mark, op.text(`touch ${marker}`), op.tuple, op.call];
    const error = await refusal(archive(pickle(...code)));
    expect(error).toMatchObject({ code: "CHECKPOINT_UNSUPPORTED", hint: expect.stringContaining("state_dict()") });
    expect(error.message).toBe(
      `${file}: holds the Python object "${module}.${name}"; only tensors are read, and nothing in a file is run`,
    );
    await expect(readFile(marker)).rejects.toThrow("ENOENT");
  });

  it("names the class of a whole module, and what to save", async () => {
    await expect(readPytorchHeader(fixture("module.pt"))).rejects.toMatchObject({
      code: "CHECKPOINT_UNSUPPORTED",
      message: expect.stringContaining('"torch.nn.modules.linear.Linear"'),
    });
  });

  it.each([
    ["an opcode of old classes", Buffer.from("(ios\nsystem\n"), "opcode 0x69"],
    ["an extension", Buffer.from([0x82, 1]), "opcode 0x82"],
    ["a persistent id as text", Buffer.from("P0\n"), "opcode 0x50"],
    ["a value that is not there", Buffer.from("0"), "a value that is not there"],
    ["a memo that is not there", Buffer.from("h\u0001"), "a value that is not there"],
    ["a list without its mark", op.tuple, "a value that is not there"],
    ["a text past the end", Buffer.concat([Buffer.from("X"), u32(2 ** 31)]), "ends too early"],
    ["a text of 2^63 bytes", Buffer.from([0x8d, 0, 0, 0, 0, 0, 0, 0, 128]), "ends too early"],
    ["an integer of 200 bytes", Buffer.concat([Buffer.from([0x8a, 200]), Buffer.alloc(200)]), "integer of 200 bytes"],
    ["a list that is a number", Buffer.concat([op.integer(1), op.integer(2), op.append]), "no list"],
    ["a call of a number", Buffer.concat([op.integer(1), op.emptyTuple, op.call]), "calls what is no function"],
    ["a call of a type", Buffer.concat([op.global("torch", "float16"), op.emptyTuple, op.call]), "no function"],
    [
      "a tensor of nothing",
      Buffer.concat([op.global("torch._utils", "_rebuild_tensor_v2"), op.emptyTuple, op.call]),
      "arguments",
    ],
    ["a storage of something else", Buffer.concat([op.text("x"), op.persistent]), "other than a storage"],
  ])("because its pickle holds %s", async (_, code, what) => {
    expect(await refusal(archive(pickle(code)))).toMatchObject({
      code: "CHECKPOINT_CORRUPT",
      message: expect.stringContaining(what),
    });
  });

  it.each([
    ["reaches past its storage", { offset: 1 }, "past the end of its storage"],
    ["reaches past it by a stride", { strides: [4, 1] }, "past the end of its storage"],
    ["begins before it", { offset: -1 }, "arguments"],
    ["goes backwards", { strides: [-3, 1] }, "arguments"],
    ["has sizes that overflow", { shape: [2 ** 52, 2 ** 52] }, "past the end of its storage"],
    ["has more strides than sizes", { strides: [3, 1, 1] }, "arguments"],
    ["has a larger storage than the file", { count: 7, shape: [7] }, 'storage "0" has 24 bytes'],
    ["has a storage that is missing", { key: "1" }, 'storage "1" of tensor "w" is missing'],
    ["has a storage outside", { key: "../../x" }, 'storage "../../x" of tensor "w" is missing'],
    ["has a storage of no storage's class", { storage: "float16" }, "none of a storage"],
  ])("because a tensor %s", async (_, changes, what) => {
    expect(await refusal(one(view(changes)))).toMatchObject({
      code: "CHECKPOINT_CORRUPT",
      message: expect.stringContaining(what),
    });
  });

  it("because a tensor repeats the elements of its storage: its copy could be of any size", async () => {
    expect(await floats("wide", "expanded.pt")).toEqual(upTo(16).map((i) => i % 2));
    expect(await refusal(one(view({ shape: [2 ** 40], strides: [0] })))).toMatchObject({
      code: "CHECKPOINT_UNSUPPORTED",
    });
  });

  it("because it holds no tensors by name, or one name twice", async () => {
    const unnamed = { code: "CHECKPOINT_UNSUPPORTED", message: `${file}: holds no tensors by name` };
    for (const code of [op.list, op.dict, view({})])
      expect(await refusal(archive(pickle(code)))).toMatchObject(unnamed);
    const twice = pickle(
      dictCode([
        ["w", view({})],
        ["w", view({})],
      ]),
    );
    expect((await refusal(archive(twice))).message).toContain('tensor "w" twice');
  });

  it("because of its byte order", async () => {
    const order = { name: "a/byteorder", data: Buffer.from("big") };
    expect(await refusal(archive(pickle(dictCode([["w", view({})]])), order))).toMatchObject({
      code: "CHECKPOINT_UNSUPPORTED",
      message: expect.stringContaining("big-endian"),
    });
  });

  it("because it costs more than its tensors need", async () => {
    const many = Buffer.alloc(2 ** 18 + 10, "N0");
    expect((await refusal(archive(pickle(many)))).message).toContain(`more than ${2 ** 18} opcodes`);
    await writeFile(
      file,
      archive(
        pickle(
          dictCode([
            ["w", view({})],
            ["x", op.text("x".repeat(1000))],
          ]),
        ),
      ),
    );
    await expect(readPytorchHeader(file, undefined, 1000)).rejects.toMatchObject({
      code: "CHECKPOINT_CORRUPT",
      message: expect.stringContaining("need 1000 at most"),
    });
  });
});

describe("an archive that is refused", () => {
  const good = one(view({}));

  it("because it was cut short", async () => {
    await writeFile(file, good);
    await truncate(file, good.length - 30);
    await expect(readPytorchHeader(file)).rejects.toMatchObject({
      code: "CHECKPOINT_CORRUPT",
      message: expect.stringContaining("truncated"),
    });
  });

  it("because a member is compressed, or given twice, or overlaps another", async () => {
    const members = [{ name: "a/data.pkl", data: pickle(op.dict) }, data];
    expect(await refusal(zip(members, { method: 8 }))).toMatchObject({
      code: "CHECKPOINT_UNSUPPORTED",
      message: expect.stringContaining('"a/data.pkl" in it is compressed'),
    });
    expect((await refusal(zip([...members, data]))).message).toContain('"a/data/0" twice');
    const overlapping = Buffer.from(good);
    const second = overlapping.lastIndexOf("PK\u0001\u0002");
    overlapping.writeUInt32LE(overlapping.readUInt32LE(second + 42) - 1, second + 42);
    expect((await refusal(overlapping)).message).toContain("overlaps");
  });

  it("because it is no archive of PyTorch's, or nothing that it says", async () => {
    expect(await refusal(zip([data]))).toMatchObject({ code: "CHECKPOINT_UNSUPPORTED" });
    const pointer = await refusal(Buffer.from("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n"));
    expect(pointer).toMatchObject({ code: "CHECKPOINT_CORRUPT", message: expect.stringContaining("Git LFS") });
    for (const bytes of [Buffer.alloc(0), Buffer.from("PK"), Buffer.alloc(1000, 1)]) {
      expect(await refusal(bytes)).toMatchObject({ code: "CHECKPOINT_CORRUPT" });
    }
  });

  it("by the codes of the caller", async () => {
    const errors = {
      missing: "ADAPTER_NOT_FOUND",
      corrupt: "ADAPTER_CORRUPT",
      unsupported: "ADAPTER_UNSUPPORTED",
    } as const;
    await expect(readPytorchHeader(join(folder, "none"), errors)).rejects.toMatchObject({ code: "ADAPTER_NOT_FOUND" });
    await expect(readPytorchHeader(fixture("module.pt"), errors)).rejects.toMatchObject({
      code: "ADAPTER_UNSUPPORTED",
    });
  });
});

it("a file of the fixtures' own writer is read as PyTorch's", async () => {
  const values = new Float32Array([1, 2, 3, 4]);
  await writeFile(file, pytorchFile(new Map([["w", { shape: [2, 2], data: new Uint8Array(values.buffer) }]])));
  const entry = (await readPytorchHeader(file)).get("w")!;
  expect([...new Float32Array((await readPytorchTensor(entry)).buffer)]).toEqual([1, 2, 3, 4]);
});

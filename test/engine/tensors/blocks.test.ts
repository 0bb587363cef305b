import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { BlockType, ModelWeights, TensorSource } from "../../../src/engine/engine.ts";
import { openEngine } from "../../../src/engine/open.ts";
import { dequantizeBlocks } from "../../../src/engine/tensors/blocks.ts";
import { blockLayouts, storedBytes } from "../../../src/engine/tensors/stored-types.ts";
import { tensorValues } from "../../../src/engine/tensors/values.ts";
import { randomConfig, tensorShapes } from "../random-model.ts";

/**
 * Where a block's f16 numbers are, the first weights of the blocks below and a hash of all of them, as gguf-py 0.17
 * (gguf.quants.dequantize) gives them. native/test/blocks_test.cpp has the same bytes and hashes.
 */
const cases: readonly [BlockType, halves: readonly number[], first: readonly number[], hash: bigint][] = [
  ["Q4_0", [0], [-0.68188477, -0.38964844, 0.38964844, 0.58447266], 0x2d4fe7fbdadaaa03n],
  ["Q4_1", [0, 2], [1.0985718, 1.293396, 0.5140991, 1.293396], 0x70e17d087939f720n],
  ["Q5_0", [0], [0.58447266, -0.19482422, -1.1689453, -1.2663574], 0xaf6462b73cd06fc7n],
  ["Q5_1", [0, 2], [0.3192749, 0.2218628, 1.4882202, 2.6571655], 0x9e358984f3dde325n],
  ["Q8_0", [0], [-12.371338, -7.4033203, 1.1689453, 9.156738], 0x94091d38cd3c0a93n],
  ["Q2_K", [80, 82], [-0.25946045, -2.8654175, -1.9967651, -0.25946045], 0x2efa98c9a269d76fn],
  ["Q3_K", [108], [-1.7200928, -0.57336426, 1.7200928, -2.293457], 0x6742293f635d79ecn],
  ["Q4_K", [0, 2], [14.308838, 3.78833, 16.646729, 9.633057], 0x61c8801a1540dc41n],
  ["Q5_K", [0, 2], [8.464111, 36.5188, 4.9572754, 4.9572754], 0x789f71f1c5669f04n],
  ["Q6_K", [208], [-131.02783, 9.359131, 145.06653, 56.154785], 0x3347d47a50bb3e69n],
];

/** Bytes of a linear congruential generator; scales are between 1/16 and 1/8, every seventh block's are subnormal. */
function randomBlocks(type: BlockType, halves: readonly number[], count: number): Uint8Array<ArrayBuffer> {
  const size = blockLayouts[type].bytes;
  let state = 1;
  const bytes = Uint8Array.from({ length: count * size }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 24;
  });
  for (let block = 0; block < count; block++) {
    for (const half of halves) {
      const high = block * size + half + 1;
      bytes[high] = (bytes[high]! & 0x83) | (block % 7 === 6 ? 0 : 0x2c);
    }
  }
  return bytes;
}

/** FNV-1a */
function hashOf(values: Float32Array): bigint {
  let hash = 14695981039346656037n;
  for (const byte of new Uint8Array(values.buffer, values.byteOffset, values.byteLength)) {
    hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 1099511628211n);
  }
  return hash;
}

describe.each(cases)("blocks of %s", (type, halves, first, hash) => {
  it("stand for the numbers that gguf-py takes them for", () => {
    const values = dequantizeBlocks(type, randomBlocks(type, halves, 64));
    expect(values).toHaveLength(64 * blockLayouts[type].elements);
    for (const [i, value] of first.entries()) expect(values[i]).toBeCloseTo(value, 4);
    expect(hashOf(values)).toBe(hash);
  });
});

describe("rows in Meta's order", () => {
  it("become Hugging Face's, head by head: even ones first", () => {
    const rows = Float32Array.from({ length: 12 }, (_, i) => i);
    const source = { dtype: "F32", shape: [12, 1], interleavedHeads: 2 } as const;
    expect([...tensorValues(source, new Uint8Array(rows.buffer))]).toEqual([0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]);
  });
});

it("has no size for rows that are not whole blocks", () => {
  expect(storedBytes("Q4_K", [3, 128])).toBeNull();
  expect(storedBytes("Q8_0", [3, 64])).toBe(204);
  expect(storedBytes("F32", [2 ** 40, 2 ** 40])).toBeNull();
});

describe("a model of block-quantised, interleaved and plain tensors", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "blocks-"));
  });
  afterAll(() => rm(folder, { recursive: true }));

  /** Every format on one of the tensors; sizes that are no multiple of a vector's. */
  async function writeModel(): Promise<ModelWeights> {
    const shape = {
      hiddenSize: 256,
      intermediateSize: 256,
      heads: 3,
      kvHeads: 1,
      headDim: 10,
      layers: 2,
      tiedHead: true,
    };
    const config = { ...randomConfig(1), ...shape, vocabSize: 37, slidingWindow: null };
    const inverseFrequencies = Float32Array.from({ length: 5 }, (_, i) => 10000 ** (-i / 5));
    const tensors = new Map<string, TensorSource>();
    const file = join(folder, "model.bin");
    const parts: Uint8Array[] = [];
    let offset = 0;
    let next = 0;
    for (const [name, sizes] of tensorShapes(config)) {
      const isBlock = sizes.length === 2 && sizes[1] === 256;
      const [type, halves] = cases[next++ % cases.length]!;
      const count = sizes.reduce((a, b) => a * b, 1);
      const bytes = isBlock
        ? small(randomBlocks(type, halves, count / blockLayouts[type].elements), type, halves)
        : new Uint8Array(Float32Array.from({ length: count }, (_, i) => Math.sin(i)).buffer);
      const heads = { q_proj: 3, k_proj: 1 }[/([qk]_proj)/.exec(name)?.[1] ?? ""];
      tensors.set(name, { file, offset, dtype: isBlock ? type : "F32", shape: sizes, interleavedHeads: heads });
      parts.push(bytes);
      offset += bytes.length;
    }
    await writeFile(file, Buffer.concat(parts));
    return { config: { ...config, rope: { inverseFrequencies, attentionScaling: 1 } }, tensors };
  }

  /** Scales of a thousandth, so that nothing overflows. */
  function small(bytes: Uint8Array, type: BlockType, halves: readonly number[]): Uint8Array {
    const size = blockLayouts[type].bytes;
    for (let block = 0; block < bytes.length; block += size) {
      for (const half of halves) bytes[block + half + 1] = (bytes[block + half + 1]! & 0x83) | 0x0c;
    }
    return bytes;
  }

  it("has the logits of the same model in float32, in the native engine and in TensorFlow's", async () => {
    const weights = await writeModel();
    const plain = await inFloat32(weights);
    const tokens = Int32Array.from([1, 5, 36, 0, 9, 9]);
    const logits = async (env: NodeJS.ProcessEnv, model: ModelWeights) => {
      const loaded = await (await openEngine({ ...process.env, LLAMA_DEVICE: "cpu", ...env })).load(model);
      const result = await loaded.logits(tokens);
      await loaded.close();
      return result;
    };
    const expected = await logits({}, plain);
    expect(expected.every(Number.isFinite)).toBe(true);
    expect(await logits({}, weights)).toEqual(expected);
    expect(await logits({ LLAMA_ISA: "reference" }, weights)).toEqual(await logits({ LLAMA_ISA: "reference" }, plain));
    const wasm = { LLAMA_ENGINE: "tensorflow", LLAMA_TF_BACKEND: "cpu" };
    expect(await logits(wasm, weights)).toEqual(await logits(wasm, plain));
  });

  /** The twin: dequantised here, in Hugging Face's order. */
  async function inFloat32({ config, tensors }: ModelWeights): Promise<ModelWeights> {
    const { readTensor } = await import("../../../src/llama/checkpoint/index.ts");
    const file = join(folder, "plain.bin");
    const plain = new Map<string, TensorSource>();
    const parts: Uint8Array[] = [];
    let offset = 0;
    for (const [name, source] of tensors) {
      const values = await readTensor(source);
      plain.set(name, { file, offset, dtype: "F32", shape: source.shape });
      parts.push(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
      offset += values.byteLength;
    }
    await writeFile(file, Buffer.concat(parts));
    return { config, tensors: plain };
  }
});

import { mkdir, mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { LlamaConfig } from "../../../src/engine/config.ts";
import { openCheckpoint } from "../../../src/llama/checkpoint/index.ts";
import { openMetaModel } from "../../../src/llama/checkpoint/meta/index.ts";
import { metaNames } from "../../../src/llama/checkpoint/meta/names.ts";
import { expectedTensors } from "../../../src/llama/checkpoint/tensors.ts";
import { inspectPath } from "../../../src/llama/cli/inspect/inspect.ts";
import { bytesRead } from "../../bytes-read.ts";
import { modelFile, usualPieces } from "../tokenizer/sentencepiece-fixture.ts";
import { dictCode, pickle, tensorCode, zipParts } from "./pytorch/pytorch-fixture.ts";

/** Models whose files are headers and holes, of which little may be read. */
const models = {
  "7B": { hiddenSize: 4096, intermediateSize: 11_008, layers: 32, heads: 32 },
  "65B": { hiddenSize: 8192, intermediateSize: 22_016, layers: 80, heads: 64 },
} as const;
const sizes = Object.keys(models) as (keyof typeof models)[];
const gigabytes = { "7B": 13.4, "65B": 130.5 } as const;

/** Headers of a 65B model are 100 kB, pickles and directories in 33 shards a few hundred. */
const mostHeaderBytes = 8 * 2 ** 20;

/** What llama-lora inspect finds, from headers only. */
async function inspected(size: keyof typeof models) {
  const { signal } = new AbortController();
  const { result, bytes } = await bytesRead(() => inspectPath(folder, { values: false, signal }));
  expect(bytes).toBeLessThan(mostHeaderBytes);
  expect(result.bytes / 1e9).toBeGreaterThan(gigabytes[size]);
  return result;
}

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "sparse-"));
});
afterEach(() => rm(folder, { recursive: true }));

function shapesOf(size: keyof typeof models): [name: string, shape: readonly number[]][] {
  const { heads } = models[size];
  const other = { vocabSize: 32_000, kvHeads: heads, headDim: 128, tiedHead: false };
  return [...expectedTensors({ ...models[size], ...other } as unknown as LlamaConfig)];
}

async function writeSide(size: keyof typeof models): Promise<void> {
  const { hiddenSize, intermediateSize, layers, heads } = models[size];
  const config = {
    model_type: "llama",
    hidden_size: hiddenSize,
    intermediate_size: intermediateSize,
    vocab_size: 32_000,
  };
  const counts = { num_hidden_layers: layers, num_attention_heads: heads };
  await writeFile(join(folder, "config.json"), JSON.stringify({ ...config, ...counts }));
  await writeFile(join(folder, "tokenizer.model"), modelFile(usualPieces(["\u2581", "a"])));
}

/** Writes these parts, and holes elsewhere up to `size`. */
async function writeParts(
  file: string,
  parts: readonly { at: number; bytes: Uint8Array }[],
  size: number,
): Promise<void> {
  const handle = await open(file, "w");
  for (const { at, bytes } of parts) await handle.write(bytes, 0, bytes.length, at);
  await handle.truncate(size);
  await handle.close();
}

const bytesOf = (shape: readonly number[]) => shape.reduce((product, count) => product * count, 2);

async function writePytorch(file: string, tensors: readonly (readonly [name: string, shape: readonly number[]])[]) {
  const code = tensors.map(([name, shape], i) => {
    return [name, tensorCode({ key: `${i}`, count: bytesOf(shape) / 2, shape, storage: "HalfStorage" })] as const;
  });
  const data = tensors.map((_, i) => ({ name: `archive/data/${i}`, data: new Uint8Array(0) }));
  const holes = new Map(tensors.map(([, shape], i) => [`archive/data/${i}`, bytesOf(shape)]));
  const parts = zipParts([{ name: "archive/data.pkl", data: pickle(dictCode(code)) }, ...data], { holes, wide: true });
  const end = parts.at(-1)!;
  await writeParts(file, parts, end.at + end.bytes.length);
}

describe("files of holes", () => {
  it.each(sizes)("are inspected as safetensors of %s", async (size) => {
    await writeSide(size);
    const header: Record<string, object> = {};
    let end = 0;
    for (const [name, shape] of shapesOf(size)) {
      const begin = end;
      end += bytesOf(shape);
      header[name] = { dtype: "F16", shape, data_offsets: [begin, end] };
    }
    const text = Buffer.from(JSON.stringify(header));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(text.length));
    const start = Buffer.concat([length, text]);
    await writeParts(join(folder, "model.safetensors"), [{ at: 0, bytes: start }], start.length + end);
    expect(end / 1e9).toBeGreaterThan(gigabytes[size]);
    expect(await inspected(size)).toMatchObject({ state: "ok", tensors: shapesOf(size).length });
  });

  it.each(sizes)("are inspected as .bin of %s, whole and in 33 shards", async (size) => {
    await writeSide(size);
    const tensors = shapesOf(size);
    await writePytorch(join(folder, "pytorch_model.bin"), tensors);
    const { weights } = await openCheckpoint(folder);
    const last = weights.tensors.get("lm_head.weight")!;
    expect(last.offset / 1e9).toBeGreaterThan(gigabytes[size] - 1);
    expect((await inspected(size)).tensors).toBe(tensors.length);
    await rm(join(folder, "pytorch_model.bin"));
    const each = Math.ceil(tensors.length / 33);
    for (let shard = 0; shard < 33; shard++) {
      const name = `pytorch_model-${String(shard + 1).padStart(5, "0")}-of-00033.bin`;
      await writePytorch(join(folder, name), tensors.slice(shard * each, (shard + 1) * each));
    }
    expect((await inspected(size)).tensors).toBe(tensors.length);
  });

  it("are inspected in Meta's format of 65B in 8 shards", async () => {
    const names = metaNames(80, 1);
    const cut = (name: string, shape: readonly number[]) =>
      [names.get(name)!.meta, shape.map((count, i) => (i === names.get(name)!.axis ? count / 8 : count))] as const;
    await mkdir(join(folder, "65B"));
    for (let shard = 0; shard < 8; shard++) {
      const tensors = shapesOf("65B").map(([name, shape]) => cut(name, shape));
      await writePytorch(join(folder, "65B", `consolidated.0${shard}.pth`), tensors);
    }
    const params = { dim: 8192, multiple_of: 256, n_heads: 64, n_layers: 80, norm_eps: 1e-5, vocab_size: -1 };
    await writeFile(join(folder, "65B", "params.json"), JSON.stringify(params));
    await writeFile(join(folder, "tokenizer.model"), modelFile(usualPieces(["\u2581", "a"])));
    expect((await inspected("65B")).model).toMatchObject({ tokenizer: { kind: "SentencePiece", bos: 1, ends: [2] } });
    const model = await openMetaModel(folder);
    expect(model.config).toMatchObject({ vocabSize: 32_000, intermediateSize: 22_016, tiedHead: false });
    await expect(openCheckpoint(folder)).rejects.toMatchObject({ hint: expect.stringContaining("llama-lora convert") });
  });
});

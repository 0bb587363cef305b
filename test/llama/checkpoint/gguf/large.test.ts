import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { openEngine } from "../../../../src/engine/open.ts";
import { openGguf } from "../../../../src/llama/checkpoint/gguf/open.ts";
import { collectTensors } from "../../../../src/llama/checkpoint/tensors.ts";
import { inspectPath } from "../../../../src/llama/cli/inspect/inspect.ts";
import { pieceTypes } from "../../../../src/llama/tokenizer/sentencepiece-model.ts";
import { bytesRead } from "../../../bytes-read.ts";
import { usualPieces } from "../../tokenizer/sentencepiece-fixture.ts";
import { type GgufFile, ggufBytes, llamaMetadata, llamaTensors, type Shape } from "./gguf-file.ts";

const folder = mkdtempSync(join(tmpdir(), "gguf-large-"));
afterAll(() => rmSync(folder, { recursive: true }));

type Size = readonly [name: string, shape: Shape, elements: number];
const sizes: readonly Size[] = [
  ["7B", { layers: 32, hidden: 4096, intermediate: 11008, heads: 32, kvHeads: 32, vocab: 32000 }, 6_607_343_616],
  ["65B", { layers: 80, hidden: 8192, intermediate: 22016, heads: 64, kvHeads: 64, vocab: 32000 }, 65_023_516_672],
];

/** A file whose weights are holes. */
function writeHoles([name, shape]: Size): string {
  let offset = 0;
  const tensors = llamaTensors(shape).map(([name, sizes]) => {
    const count = sizes.reduce((a, b) => a * b, 1);
    const type = sizes.length === 1 ? "F32" : "Q4_0";
    const place = offset;
    offset += type === "F32" ? count * 4 : (count / 32) * 18;
    return { name, shape: sizes, type, offset: place };
  });
  const words = Array.from({ length: shape.vocab - 260 }, (_, i) => `word${i}`);
  const pieces = usualPieces(["\u2581", ...words]);
  const metadata: GgufFile["metadata"] = [
    ...llamaMetadata(shape),
    ["tokenizer.ggml.model", ["string", "llama"]],
    ["tokenizer.ggml.tokens", ["array", "string", pieces.map(({ text }) => text)]],
    ["tokenizer.ggml.scores", ["array", "f32", pieces.map(({ score = 0 }) => score)]],
    ["tokenizer.ggml.token_type", ["array", "i32", pieces.map(({ type = pieceTypes.normal }) => type)]],
    ["tokenizer.ggml.bos_token_id", ["u32", 1]],
    ["tokenizer.ggml.eos_token_id", ["u32", 2]],
    ["tokenizer.ggml.unknown_token_id", ["u32", 0]],
  ];
  const file = join(folder, `${name}.gguf`);
  const header = ggufBytes({ metadata, tensors });
  writeFileSync(file, header);
  truncateSync(file, header.length + offset);
  return file;
}

it.each(sizes)("opens a file of %s by its header only", async (...size) => {
  const [, shape, elements] = size;
  const file = writeHoles(size);
  const before = process.memoryUsage().rss;
  const { config, weights } = await openGguf(file);
  const { tensors: found } = collectTensors(config, weights);
  expect(process.memoryUsage().rss - before).toBeLessThan(2 ** 28);
  expect(found.size).toBe(2 + shape.layers * 9);
  const total = [...found.values()].reduce((sum, tensor) => sum + tensor.shape.reduce((a, b) => a * b, 1), 0);
  expect(total).toBe(elements);
  const { signal } = new AbortController();
  const { result, bytes } = await bytesRead(() => inspectPath(file, { values: false, signal }));
  expect(result).toMatchObject({ kind: "GGUF model", state: "ok", model: { layers: shape.layers } });
  expect(bytes).toBeLessThan(8 * 2 ** 20);
});

// In float32 they take 260 GB.
it.skipIf(totalmem() > 250e9)("refuses weights that do not fit before it reads them", async () => {
  const { config, weights } = await openGguf(writeHoles(sizes[1]!));
  const { tensors } = collectTensors(config, weights);
  const engine = await openEngine({ ...process.env, LLAMA_DEVICE: "cpu" });
  await expect(engine.load({ config, tensors })).rejects.toMatchObject({
    code: "OUT_OF_MEMORY",
    message: expect.stringMatching(/GGUF's blocks as plain numbers, needs 26\d\.\d\d GB/),
  });
});

import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { openGguf } from "../../../../src/llama/checkpoint/gguf/open.ts";
import { collectTensors } from "../../../../src/llama/checkpoint/tensors.ts";
import { ggufBytes, llamaMetadata, llamaTensors } from "./gguf-file.ts";

const folder = mkdtempSync(join(tmpdir(), "gguf-large-"));
afterAll(() => rmSync(folder, { recursive: true }));

it.each([
  ["7B", { layers: 32, hidden: 4096, intermediate: 11008, heads: 32, kvHeads: 32, vocab: 32000 }, 6_607_343_616],
  ["65B", { layers: 80, hidden: 8192, intermediate: 22016, heads: 64, kvHeads: 64, vocab: 32000 }, 65_023_516_672],
])("opens a file of %s by its header only", async (size, shape, elements) => {
  let offset = 0;
  const tensors = llamaTensors(shape).map(([name, sizes]) => {
    const count = sizes.reduce((a, b) => a * b, 1);
    const type = sizes.length === 1 ? "F32" : "Q4_0";
    const place = offset;
    offset += type === "F32" ? count * 4 : (count / 32) * 18;
    return { name, shape: sizes, type, offset: place };
  });
  const pieces = Array.from({ length: shape.vocab }, (_, i) => `token ${i}`);
  const metadata = [...llamaMetadata(shape), ["tokenizer.ggml.tokens", ["array", "string", pieces]] as const];
  const file = join(folder, `${size}.gguf`);
  const header = ggufBytes({ metadata, tensors });
  writeFileSync(file, header);
  truncateSync(file, header.length + offset); // holes
  const before = process.memoryUsage().rss;
  const { config, weights } = await openGguf(file);
  const { tensors: found } = collectTensors(config, weights);
  expect(process.memoryUsage().rss - before).toBeLessThan(2 ** 28);
  expect(found.size).toBe(2 + shape.layers * 9);
  const total = [...found.values()].reduce((sum, tensor) => sum + tensor.shape.reduce((a, b) => a * b, 1), 0);
  expect(total).toBe(elements);
});

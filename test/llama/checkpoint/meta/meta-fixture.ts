import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { LlamaConfig } from "../../../../src/engine/config.ts";
import { metaNames } from "../../../../src/llama/checkpoint/meta/names.ts";
import { expectedTensors } from "../../../../src/llama/checkpoint/tensors.ts";
import { type FixtureTensor, pytorchFile } from "../pytorch/pytorch-fixture.ts";

/** A LLaMA of 2 layers in bfloat16. */
export const shape = {
  ...{ vocabSize: 20, hiddenSize: 16, intermediateSize: 44, layers: 2, heads: 4, kvHeads: 2, headDim: 4 },
  ...{ tiedHead: false, attentionBias: false, queryKeyNorm: false },
};
export const params = {
  dim: 16,
  n_layers: 2,
  n_heads: 4,
  n_kv_heads: 2,
  vocab_size: -1,
  multiple_of: 4,
  norm_eps: 1e-5,
};

/** Its tensors under Hugging Face's names, every number another one. */
export function huggingFaceTensors(): Map<string, { shape: readonly number[]; data: Uint16Array }> {
  let next = 0;
  return new Map(
    [...expectedTensors(shape as unknown as LlamaConfig)].map(([name, sizes]) => {
      const count = sizes.reduce((product, size) => product * size, 1);
      return [name, { shape: sizes, data: Uint16Array.from({ length: count }, () => next++ & 0xffff) }];
    }),
  );
}

/** Row by row what Hugging Face's order is in Meta's: row 2j of a head is row j of its first half, 2j + 1 of its second. */
function interleaved(data: Uint16Array, heads: number, columns: number): Uint16Array {
  const rows = data.length / columns / heads;
  const result = new Uint16Array(data.length);
  for (let row = 0; row < rows * heads; row++) {
    const [head, within] = [Math.floor(row / rows), row % rows];
    const from = head * rows + (within % 2 === 0 ? within / 2 : rows / 2 + (within - 1) / 2);
    result.set(data.subarray(from * columns, (from + 1) * columns), row * columns);
  }
  return result;
}

export interface MetaFixture {
  readonly shards?: number;
  /** 1: columns of the embedding (LLaMA 1, 2), 0: rows (Llama 3). */
  readonly embeddingAxis?: 0 | 1;
  readonly params?: object;
  /** Changes a shard's tensors before they are written. */
  readonly change?: (tensors: Map<string, FixtureTensor>, shard: number) => void;
}

/** Writes the model as Meta does. */
export async function writeMeta(folder: string, fixture: MetaFixture = {}): Promise<void> {
  const { shards = 1, embeddingAxis = 1, change = () => {} } = fixture;
  await mkdir(folder, { recursive: true });
  const tensors = huggingFaceTensors();
  for (let shard = 0; shard < shards; shard++) {
    const part = new Map<string, FixtureTensor>([["rope.freqs", { shape: [2], data: new Uint8Array(8) }]]);
    for (const [name, { meta, axis, interleaved: by }] of metaNames(shape.layers, embeddingAxis)) {
      const { shape: sizes, data } = tensors.get(name)!;
      const columns = sizes.at(-1)!;
      const whole = by === null ? data : interleaved(data, shape[by], columns);
      part.set(meta, cut(whole, sizes, { axis, shard, shards }));
    }
    change(part, shard);
    const name = `consolidated.${String(shard).padStart(2, "0")}`;
    await writeFile(join(folder, `${name}.pth`), pytorchFile(part, name));
  }
  await writeFile(join(folder, "params.json"), JSON.stringify(fixture.params ?? params));
}

function cut(
  data: Uint16Array,
  sizes: readonly number[],
  { axis, shard, shards }: { axis: 0 | 1 | null; shard: number; shards: number },
): FixtureTensor {
  const columns = sizes.at(-1)!;
  const rows = data.length / columns;
  const kept =
    axis === 1
      ? Array.from({ length: rows }, (_, row) => {
          const width = columns / shards;
          return [...data.subarray(row * columns + shard * width, row * columns + (shard + 1) * width)];
        }).flat()
      : axis === 0
        ? [...data.subarray((shard * data.length) / shards, ((shard + 1) * data.length) / shards)]
        : [...data];
  const shape = sizes.map((size, i) => (i === axis ? size / shards : size));
  return { shape, data: new Uint8Array(Uint16Array.from(kept).buffer), storage: "BFloat16Storage", width: 2 };
}

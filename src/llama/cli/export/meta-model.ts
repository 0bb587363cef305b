import { copyFile, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { WeightType } from "../../../engine/engine.ts";
import { say } from "../../../terminal/streams.ts";
import { changedParts, type WeightChanges } from "../../adapter/weight-change.ts";
import { pairsFromHalves } from "../../checkpoint/gguf/written-model.ts";
import type { Checkpoint } from "../../checkpoint/index.ts";
import { metaEmbedding, metaHead, metaNames } from "../../checkpoint/meta/names.ts";
import { paramsJson } from "../../checkpoint/meta/write-params.ts";
import { writePytorch } from "../../checkpoint/pytorch/write.ts";
import { type StreamedTensor, tensorBytes } from "../../checkpoint/safetensors-writer.ts";
import { huggingFaceConfig } from "../huggingface-config.ts";
import { plainType } from "../model-to-write.ts";
import { Progress } from "../progress.ts";

export interface MetaExport {
  readonly dtype: WeightType | undefined;
  readonly changes: WeightChanges;
  readonly signal: AbortSignal;
}

/** Writes a model, with adapters' terms in its weights, as Meta does: consolidated.00.pth, params.json, tokenizer.model. */
export async function exportMeta(folder: string, model: Checkpoint, options: MetaExport): Promise<void> {
  const { config, weights } = model;
  const params = paramsJson(config, await huggingFaceConfig(model, "F32"));
  const names = metaNames(config.layers, 1);
  const tensors = [...weights.tensors].map(([name, source]): StreamedTensor => {
    const { meta, interleaved } = names.get(name)!;
    const columns = source.shape.at(-1)!;
    const headDim = interleaved === null ? null : source.shape[0]! / config[interleaved];
    return {
      name: meta,
      shape: source.shape,
      dtype: options.dtype ?? plainType(source.dtype),
      async *parts() {
        for await (const { values } of changedParts(source, options.changes.get(name), headDim ?? 1)) {
          options.signal.throwIfAborted();
          yield headDim === null ? values : pairsFromHalves(values, columns, headDim);
        }
      },
    };
  });
  const aliases = config.tiedHead ? [{ name: metaHead, of: metaEmbedding }] : [];
  const progress = new Progress(
    "Exporting",
    tensors.reduce((sum, tensor) => sum + tensorBytes(tensor), 0),
  );
  try {
    await writePytorch(join(folder, "consolidated.00.pth"), "consolidated.00", tensors, aliases, progress.add);
  } finally {
    progress.end();
  }
  await writeFile(join(folder, "params.json"), `${JSON.stringify(params)}\n`);
  await copyTokenizer(model, folder);
}

async function copyTokenizer({ folder: from }: Checkpoint, folder: string): Promise<void> {
  for (const place of [from, join(dirname(from), "tokenizer")]) {
    const file = join(place, "tokenizer.model");
    if (!(await stat(file).catch(() => null))?.isFile()) continue;
    await copyFile(file, join(folder, "tokenizer.model"));
    return;
  }
  say("warning: the model has no tokenizer.model, the only tokenizer of Meta's format; it is written without");
}

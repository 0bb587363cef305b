import { changedParts, type WeightChanges } from "../../adapter/weight-change.ts";
import { modelMetadata } from "../../checkpoint/gguf/model-metadata.ts";
import { tokenizerMetadata } from "../../checkpoint/gguf/tokenizer-metadata.ts";
import { ggufBytes, writeGguf } from "../../checkpoint/gguf/write.ts";
import { type GgufType, ggufTensor } from "../../checkpoint/gguf/written-model.ts";
import type { Checkpoint } from "../../checkpoint/index.ts";
import { huggingFaceConfig } from "../huggingface-config.ts";
import { Progress } from "../progress.ts";

/** Writes a model, with adapters' terms in its weights, as a GGUF file that llama.cpp loads. */
export async function exportGguf(
  file: string,
  model: Checkpoint,
  { type, changes, signal }: { readonly type: GgufType; readonly changes: WeightChanges; readonly signal: AbortSignal },
): Promise<void> {
  const configJson = await huggingFaceConfig(model, "F32");
  const shape = modelMetadata(model.config, configJson, { name: model.name, type });
  const metadata = new Map([...shape.metadata, ...tokenizerMetadata(model)]);
  const tensors = [...model.weights.tensors].map(([name, source]) =>
    ggufTensor(name, source, model.config, type, async function* (together) {
      for await (const part of changedParts(source, changes.get(name), together)) {
        signal.throwIfAborted();
        yield part;
      }
    }),
  );
  const all = [...tensors, ...shape.tensors];
  const progress = new Progress(
    "Exporting",
    all.reduce((sum, tensor) => sum + ggufBytes(tensor), 0),
  );
  try {
    await writeGguf(file, metadata, all, progress.add);
  } finally {
    progress.end();
  }
}

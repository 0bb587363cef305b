import { dirname, resolve } from "node:path";
import type { LlamaConfig } from "../../../engine/config.ts";
import type { StoredType } from "../../../engine/engine.ts";
import { storedBytes } from "../../../engine/tensors/stored-types.ts";
import { quoted } from "../../../terminal/shell.ts";
import { convertCommand } from "../../checkpoint/convert-command.ts";
import { parameters } from "../../checkpoint/describe.ts";
import { architectureOf } from "../../checkpoint/gguf/written-model.ts";
import { openCheckpoint } from "../../checkpoint/index.ts";
import { type MetaModel, openMetaModel } from "../../checkpoint/meta/index.ts";
import { tensorParts } from "../../checkpoint/tensor-parts.ts";
import { openTokenizer } from "../../tokenizer/open.ts";
import { needsOf } from "./needs.ts";
import type { ModelReport, Report } from "./report.ts";

/** A Hugging Face folder or a GGUF file. @param values whether every number is read, to find those that are not finite */
export async function inspectModel(path: string, values: boolean, signal: AbortSignal): Promise<Report> {
  const model = await openCheckpoint(path);
  const { config, weights, tokenizer } = model;
  const sources = [...weights.tensors];
  const { bytes, types, main } = summary(sources.map(([, source]) => source));
  const problems = [...model.warnings];
  let state: Report["state"] = "ok";
  if (values) {
    const bad = await notFinite(sources, signal);
    if (bad.length > 0) state = "broken";
    for (const name of bad.slice(0, 10)) problems.push(`tensor "${name}" holds numbers that are not finite`);
  }
  return {
    kind: model.file === null ? "Hugging Face folder" : "GGUF model",
    path: model.file ?? model.folder,
    state,
    problems,
    bytes,
    tensors: sources.length,
    types,
    model: {
      ...shapeOf(config),
      name: model.name,
      tokenizer: {
        kind: model.tokenizerKind,
        pieces: tokenizer.vocabSize,
        bos: tokenizer.bosId,
        ends: model.eosTokenIds,
      },
      chatTemplate: model.chatTemplate?.length ?? null,
    },
    needs: needsOf(config, main),
  };
}

/** Meta's files, which have to be converted before they are used. */
export async function inspectMetaModel(path: string): Promise<Report> {
  const model = await openMetaModel(path);
  const { bytes, types, main } = summary(model.tensors);
  return {
    kind: "Meta folder",
    path: model.folder,
    state: "ok",
    problems: [...model.warnings, `convert it before it is used: \`${metaCommand(path)}\``],
    bytes,
    tensors: model.tensors.length,
    types,
    model: { ...shapeOf(model.config), name: "", tokenizer: await metaTokenizer(model), chatTemplate: null },
    needs: needsOf(model.config, main),
  };
}

/** To be pasted into a shell. */
function metaCommand(path: string): string {
  return resolve(path) === resolve("weights") ? convertCommand(path) : `llama-lora convert ${quoted(path)} weights`;
}

/** The one beside the weights or one level up, with the ids at which the released model's answers end. */
async function metaTokenizer({ tokenizerFile, configJson }: MetaModel): Promise<ModelReport["tokenizer"]> {
  if (tokenizerFile === null) return null;
  const { tokenizer, kind } = await openTokenizer([dirname(tokenizerFile)]);
  const ends = [configJson.eos_token_id].flat() as number[];
  return { kind, pieces: tokenizer.vocabSize, bos: tokenizer.bosId, ends };
}

function shapeOf(config: LlamaConfig): Omit<ModelReport, "name" | "tokenizer" | "chatTemplate"> {
  const { layers, hiddenSize, intermediateSize, heads, kvHeads, headDim, tiedHead } = config;
  return {
    architecture: architectureOf(config),
    parameters: parameters(config),
    ...{ layers, hiddenSize, intermediateSize, heads, kvHeads, headDim, tiedHead },
    vocabulary: config.vocabSize,
    context: config.maxPositionEmbeddings,
  };
}

interface Sized {
  readonly dtype: StoredType;
  readonly shape: readonly number[];
}

function summary(tensors: readonly Sized[]): { bytes: number; types: Record<string, number>; main: StoredType } {
  const types: Record<string, number> = {};
  const byType = new Map<StoredType, number>();
  for (const { dtype, shape } of tensors) {
    types[dtype] = (types[dtype] ?? 0) + 1;
    byType.set(dtype, (byType.get(dtype) ?? 0) + storedBytes(dtype, shape)!);
  }
  const sizes = [...byType].sort(([, a], [, b]) => b - a);
  return { bytes: sizes.reduce((sum, [, bytes]) => sum + bytes, 0), types, main: sizes[0]![0] };
}

async function notFinite(
  sources: readonly (readonly [string, Parameters<typeof tensorParts>[0]])[],
  signal: AbortSignal,
): Promise<string[]> {
  const names: string[] = [];
  for (const [name, source] of sources) {
    for await (const { values } of tensorParts(source)) {
      signal.throwIfAborted();
      if (values.every(Number.isFinite)) continue;
      names.push(name);
      break;
    }
  }
  return names;
}

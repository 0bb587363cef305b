import type { LlamaConfig } from "../../engine/config.ts";
import { CodedError, type ErrorCode, isCodedError } from "../../errors/index.ts";
import { families } from "../checkpoint/families.ts";
import { type GgufTensor, readGgufHeader } from "../checkpoint/gguf/header.ts";
import { Metadata } from "../checkpoint/gguf/metadata.ts";
import { huggingFaceName, interleavedHeads } from "../checkpoint/gguf/names.ts";
import type { AdapterTensor } from "./tensor-file.ts";
import { type ModuleTensors, type NamedTensor, quoted, type TensorIndex } from "./tensor-index.ts";
import { type AdapterPart, embedding, head } from "./tensor-name.ts";

/** The scale's numerator of a module with such tensors and rank. */
export type AlphaOf = (parts: ModuleTensors, rank: number) => Promise<number>;

export interface GgufIndex {
  readonly index: TensorIndex;
  readonly alphaOf: AlphaOf;
  /** What the file says and is not followed, one line each. */
  readonly warnings: readonly string[];
}

/**
 * The pairs of a GGUF LoRA ("blk.0.attn_q.weight.lora_a") under the base's modules, and its norms in place of the base's.
 * https://github.com/ggml-org/llama.cpp/blob/master/convert_lora_to_gguf.py
 * @throws ADAPTER_CORRUPT, ADAPTER_CONFIG, ADAPTER_UNSUPPORTED naming file and key or tensor
 */
export async function readGgufIndex(file: string, model: LlamaConfig): Promise<GgufIndex> {
  const header = await asAdapter(() => readGgufHeader(file));
  const metadata = new Metadata(header);
  const said = await asAdapter(async () => saidIn(metadata));
  const modules = new Map<string, Map<AdapterPart, NamedTensor>>();
  for (const [given, tensor] of header.tensors) {
    const [, weight, side] = /^(.+)\.lora_([ab])$/.exec(given) ?? [];
    const name = huggingFaceName(weight ?? given);
    const path = name.replace(/\.weight$/, "");
    if (path === name || !(weight === undefined ? isNorm(path) : isLinear(path) || path === embedding)) {
      const what = weight === undefined ? "is not part of a LoRA pair" : "is a pair on what is no linear of this model";
      throw new CodedError("ADAPTER_UNSUPPORTED", `${file}: tensor ${quoted(given)} ${what}`);
    }
    const layer = Number(/^model\.layers\.(\d+)\./.exec(path)?.[1] ?? 0);
    if (layer >= model.layers) {
      throw new CodedError(
        "ADAPTER_MISMATCH",
        `${file}: tensor ${quoted(given)}: the model has ${model.layers} layers`,
      );
    }
    const parts = modules.get(path) ?? new Map<AdapterPart, NamedTensor>();
    modules.set(path, parts);
    if (weight === undefined) parts.set("weight", { given, tensor });
    else if (path === embedding && side === "a") parts.set("A", { given, tensor: transposed(tensor) });
    else {
      const heads = side === "b" ? interleavedHeads(weight, said.architecture, model) : undefined;
      parts.set(side === "a" ? "A" : "B", { given, tensor: { ...tensor, interleavedHeads: heads } });
    }
  }
  if (modules.size === 0) throw new CodedError("ADAPTER_CORRUPT", `${file}: holds no tensors`);
  const index = { label: file, modules, spellings: new Set<never>(), isBare: false };
  // llama.cpp takes 0 for a scale of 1.
  const alphaOf: AlphaOf = async (_, rank) => (said.alpha === 0 ? rank : said.alpha);
  return { index, alphaOf, warnings: said.warnings };
}

/** llama.cpp looks rows of A up by token: [vocabulary, rank]. PEFT has [rank, vocabulary]. */
function transposed(tensor: GgufTensor): AdapterTensor {
  const [rows = 0, rank = 0] = tensor.shape;
  return { ...tensor, shape: [rank, ...tensor.shape.slice(2), rows], strides: [1, ...tensor.shape.slice(2), rank] };
}

const invocation = "adapter.alora.invocation_tokens";
/** Texts that llama.cpp hands to its user. */
const notes = ["adapter.lora.task_name", "adapter.lora.prompt_prefix"];

function saidIn(metadata: Metadata) {
  if (metadata.text("general.type") !== "adapter") {
    throw new CodedError("ADAPTER_UNSUPPORTED", `${metadata.file}: is a GGUF model, no adapter`, {
      hint: "Name a model in LLAMA_WEIGHTS.",
    });
  }
  const kind = metadata.text("adapter.type");
  if (kind !== "lora") metadata.unsupported("adapter.type", `"${kind ?? "nothing"}" is not "lora"`);
  const architecture = metadata.text("general.architecture") ?? "";
  if (!families.some(({ type }) => type === architecture)) {
    metadata.unsupported("general.architecture", `"${architecture.slice(0, 100)}" is not LLaMA's`);
  }
  const alpha = metadata.raw("adapter.lora.alpha");
  if (typeof alpha !== "number" || !Number.isFinite(alpha)) metadata.refuse("adapter.lora.alpha", "a number");
  // Its prompt is read without the adapter up to these tokens.
  if (metadata.has(invocation)) metadata.unsupported(invocation, "an activated LoRA (aLoRA) is not supported");
  const warnings = notes.flatMap((key) => {
    const text = metadata.text(key);
    return text ? [`${metadata.file}: "${key}" ${JSON.stringify(text.slice(0, 100))} is not followed`] : [];
  });
  return { architecture, alpha: alpha as number, warnings };
}

function isLinear(path: string): boolean {
  return path === head || /^model\.layers\.\d+\.(self_attn|mlp)\.\w+_proj$/.test(path);
}

/** mergekit-extract-lora has a trained model's norms beside the pairs. */
function isNorm(path: string): boolean {
  return /^model\.(norm|layers\.\d+\.(\w+_layernorm|self_attn\.[qk]_norm))$/.test(path);
}

const codes: Partial<Record<ErrorCode, ErrorCode>> = {
  CHECKPOINT_NOT_FOUND: "ADAPTER_NOT_FOUND",
  CHECKPOINT_CORRUPT: "ADAPTER_CORRUPT",
  CHECKPOINT_CONFIG: "ADAPTER_CONFIG",
  CHECKPOINT_UNSUPPORTED: "ADAPTER_UNSUPPORTED",
};

/** The reader of models names what it refuses by codes of models. */
async function asAdapter<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const code = isCodedError(error) ? codes[error.code] : undefined;
    if (code === undefined || !isCodedError(error)) throw error;
    throw new CodedError(code, error.message, { hint: error.hint, cause: error });
  }
}

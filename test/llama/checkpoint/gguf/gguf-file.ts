import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ModelWeights } from "../../../../src/engine/engine.ts";
import { ggmlTypes } from "../../../../src/llama/checkpoint/gguf/types.ts";
import { openCheckpoint, readTensor } from "../../../../src/llama/checkpoint/index.ts";
import { runNow } from "../../../../src/llama/time-slices.ts";
import { readSentencePieceModel } from "../../../../src/llama/tokenizer/sentencepiece-model.ts";

export const valueTypes = {
  ...{ u8: 0, i8: 1, u16: 2, i16: 3, u32: 4, i32: 5, f32: 6, bool: 7, string: 8, array: 9, u64: 10, i64: 11, f64: 12 },
} as const;
export type ValueType = Exclude<keyof typeof valueTypes, "array">;

/** [type, value], or ["array", type of elements, values] */
export type Value = readonly [ValueType, number | string | bigint] | readonly ["array", ValueType, readonly unknown[]];

export interface TensorToWrite {
  readonly name: string;
  /** Row-major: reversed in the file. */
  readonly shape: readonly (number | bigint)[];
  readonly type: string;
  /** In place of the bytes where only the header matters. */
  readonly offset?: number | bigint;
  readonly bytes?: Uint8Array;
}

export interface GgufFile {
  readonly version?: number;
  readonly metadata: readonly (readonly [string, Value])[];
  readonly tensors: readonly TensorToWrite[];
  readonly alignment?: number;
}

/** A GGUF file as llama.cpp writes it; tensors without bytes get an offset and no room. */
export function ggufBytes({ version = 3, metadata, tensors, alignment = 32 }: GgufFile): Buffer {
  const ids = new Map([...ggmlTypes].map(([id, { name }]) => [name, id]));
  let offset = 0;
  const places = tensors.map(({ bytes }) => {
    const place = offset;
    offset += Math.ceil((bytes?.length ?? 0) / alignment) * alignment;
    return place;
  });
  const header = Buffer.concat([
    Buffer.from("GGUF"),
    scalar("u32", version),
    scalar("u64", tensors.length),
    scalar("u64", metadata.length),
    ...metadata.flatMap(([key, value]) => [text(key), valueBytes(value)]),
    ...tensors.flatMap(({ name, shape, type, offset: given }, i) => [
      text(name),
      scalar("u32", shape.length),
      ...shape.toReversed().map((size) => scalar("u64", size)),
      scalar("u32", ids.get(type) ?? Number(type)),
      scalar("u64", given ?? places[i]!),
    ]),
  ]);
  const start = Math.ceil(header.length / alignment) * alignment;
  const data = Buffer.alloc(start + offset);
  header.copy(data);
  for (const [i, { bytes }] of tensors.entries()) if (bytes) data.set(bytes, start + places[i]!);
  return data;
}

function valueBytes(value: Value): Buffer {
  if (value[0] !== "array") return Buffer.concat([scalar("u32", valueTypes[value[0]]), scalar(value[0], value[1])]);
  const [, type, items] = value;
  return Buffer.concat([
    scalar("u32", valueTypes.array),
    scalar("u32", valueTypes[type]),
    scalar("u64", items.length),
    ...items.map((item) => scalar(type, item as number)),
  ]);
}

export function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([scalar("u64", bytes.length), bytes]);
}

export function scalar(type: ValueType, value: number | string | bigint): Buffer {
  if (type === "string") return text(String(value));
  const bytes = Buffer.alloc(8);
  const number = Number(value);
  switch (type) {
    case "u8":
      return bytes.subarray(0, bytes.writeUInt8(number));
    case "i8":
      return bytes.subarray(0, bytes.writeInt8(number));
    case "bool":
      return bytes.subarray(0, bytes.writeUInt8(number));
    case "u16":
      return bytes.subarray(0, bytes.writeUInt16LE(number));
    case "i16":
      return bytes.subarray(0, bytes.writeInt16LE(number));
    case "u32":
      return bytes.subarray(0, bytes.writeUInt32LE(number));
    case "i32":
      return bytes.subarray(0, bytes.writeInt32LE(number));
    case "f32":
      return bytes.subarray(0, bytes.writeFloatLE(number));
    case "f64":
      return bytes.subarray(0, bytes.writeDoubleLE(number));
    case "u64":
      return bytes.subarray(0, bytes.writeBigUInt64LE(BigInt(value)));
    case "i64":
      return bytes.subarray(0, bytes.writeBigInt64LE(BigInt(value)));
  }
}

/** A model's shape as GGUF's keys have it. */
export interface Shape {
  readonly layers: number;
  readonly hidden: number;
  readonly intermediate: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly vocab: number;
}

export function llamaMetadata(shape: Shape, architecture = "llama"): [string, Value][] {
  return [
    ["general.architecture", ["string", architecture]],
    [`${architecture}.block_count`, ["u32", shape.layers]],
    [`${architecture}.context_length`, ["u32", 512]],
    [`${architecture}.embedding_length`, ["u32", shape.hidden]],
    [`${architecture}.feed_forward_length`, ["u32", shape.intermediate]],
    [`${architecture}.attention.head_count`, ["u32", shape.heads]],
    [`${architecture}.attention.head_count_kv`, ["u32", shape.kvHeads]],
    [`${architecture}.attention.layer_norm_rms_epsilon`, ["f32", 1e-5]],
    [`${architecture}.vocab_size`, ["u32", shape.vocab]],
  ];
}

/** Names and shapes of a LLaMA's tensors in GGUF; the head is tied. */
export function llamaTensors({ layers, hidden, intermediate, heads, kvHeads, vocab }: Shape): [string, number[]][] {
  const kv = (hidden / heads) * kvHeads;
  const list: [string, number[]][] = [["token_embd.weight", [vocab, hidden]]];
  for (let layer = 0; layer < layers; layer++) {
    const add = (name: string, ...shape: number[]) => list.push([`blk.${layer}.${name}.weight`, shape]);
    add("attn_norm", hidden);
    add("attn_q", hidden, hidden);
    add("attn_k", kv, hidden);
    add("attn_v", kv, hidden);
    add("attn_output", hidden, hidden);
    add("ffn_norm", hidden);
    add("ffn_gate", intermediate, hidden);
    add("ffn_up", intermediate, hidden);
    add("ffn_down", hidden, intermediate);
  }
  list.push(["output_norm.weight", [hidden]]);
  return list;
}

/** GGUF's name, from Hugging Face's. */
function ggufName(name: string): string {
  const parts: Record<string, string> = {
    ...{ input_layernorm: "attn_norm", post_attention_layernorm: "ffn_norm", o_proj: "attn_output" },
    ...{ q_proj: "attn_q", k_proj: "attn_k", v_proj: "attn_v", q_norm: "attn_q_norm", k_norm: "attn_k_norm" },
    ...{ gate_proj: "ffn_gate", up_proj: "ffn_up", down_proj: "ffn_down" },
  };
  const outer: Record<string, string> = {
    ...{ "model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight" },
    "lm_head.weight": "output.weight",
  };
  const [, layer, part, kind] = /^model\.layers\.(\d+)\.(?:\w+\.)?(\w+)\.(weight|bias)$/.exec(name) ?? [];
  return outer[name] ?? `blk.${layer}.${parts[part!]}.${kind}`;
}

/** A model as a GGUF file: matrices of bf16 where they were, everything else in float32. */
export async function ggufOf({ config, tensors: sources }: ModelWeights, architecture = "llama"): Promise<GgufFile> {
  const shape = {
    layers: config.layers,
    hidden: config.hiddenSize,
    intermediate: config.intermediateSize,
    heads: config.heads,
    kvHeads: config.kvHeads,
    vocab: config.vocabSize,
  };
  const tensors: TensorToWrite[] = [];
  for (const [name, source] of sources) {
    const values = Float32Array.from(await readTensor(source));
    const heads = name.includes("q_proj") ? config.heads : name.includes("k_proj") ? config.kvHeads : 0;
    const isMeta = architecture === "llama";
    const rows = interleaved(values, source.shape[0]!, isMeta ? heads : 0);
    const type = source.dtype === "BF16" && source.shape.length > 1 ? "BF16" : "F32";
    const bytes = type === "F32" ? bytesOf(rows) : upperHalves(rows);
    tensors.push({ name: ggufName(name), shape: source.shape, type, bytes });
  }
  const window: [string, Value][] =
    config.slidingWindow === null ? [] : [[`${architecture}.attention.sliding_window`, ["u32", config.slidingWindow]]];
  const length: [string, Value] = [`${architecture}.attention.key_length`, ["u32", config.headDim]];
  return { metadata: [...llamaMetadata(shape, architecture), length, ...window], tensors };
}

/** The embedded model as a GGUF file, its tokenizer and a chat template in it. */
export async function embeddedAsGguf(changes: readonly (readonly [string, Value])[] = []): Promise<GgufFile> {
  const folder = join(import.meta.dirname, "../../../../weights/tiny");
  const { weights } = await openCheckpoint(folder);
  const model = await ggufOf(weights);
  const { pieces } = runNow(readSentencePieceModel(readFileSync(join(folder, "tokenizer.model")), "tokenizer.model"));
  const metadata: (readonly [string, Value])[] = [
    ...model.metadata,
    ["general.name", ["string", "Tiny 1.9M"]],
    ["tokenizer.ggml.model", ["string", "llama"]],
    ["tokenizer.ggml.tokens", ["array", "string", pieces.map((piece) => piece.text)]],
    ["tokenizer.ggml.scores", ["array", "f32", pieces.map((piece) => piece.score)]],
    ["tokenizer.ggml.token_type", ["array", "i32", pieces.map((piece) => piece.type)]],
    ["tokenizer.ggml.bos_token_id", ["u32", 1]],
    ["tokenizer.ggml.eos_token_id", ["u32", 2]],
    ["tokenizer.ggml.unknown_token_id", ["u32", 0]],
    ["tokenizer.chat_template", ["string", "{{ messages[0].content }}"]],
  ];
  const changed = new Map(changes);
  return { metadata: [...metadata.filter(([key]) => !changed.has(key)), ...changes], tensors: model.tensors };
}

function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView<ArrayBuffer>): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** Of numbers that bf16 can hold. */
function upperHalves(values: Float32Array<ArrayBuffer>): Uint8Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  return bytesOf(Uint16Array.from(bits, (word) => word >>> 16));
}

/** Halves of each head's rows side by side: [heads, 2, dim / 2] -> [heads, dim / 2, 2]; 0 heads: as they are. */
function interleaved(values: Float32Array<ArrayBuffer>, rows: number, heads: number): Float32Array<ArrayBuffer> {
  if (heads === 0) return values;
  const [dim, columns] = [rows / heads, values.length / rows];
  const result = new Float32Array(values.length);
  for (let row = 0; row < rows; row++) {
    const within = row % dim;
    const to = row - within + (within < dim / 2 ? 2 * within : 2 * (within - dim / 2) + 1);
    result.set(values.subarray(row * columns, (row + 1) * columns), to * columns);
  }
  return result;
}

export function writeGguf(file: string, gguf: GgufFile): string {
  writeFileSync(file, ggufBytes(gguf));
  return file;
}

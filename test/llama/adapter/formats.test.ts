import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { linearShape } from "../../../src/engine/config.ts";
import type { AdapterModule } from "../../../src/engine/engine.ts";
import { openEngine } from "../../../src/engine/open.ts";
import { tensorValues } from "../../../src/engine/tensors/values.ts";
import { openAdapter, withAdapter, writeAdapterFolder } from "../../../src/llama/adapter/index.ts";
import { tensorName } from "../../../src/llama/adapter/tensor-name.ts";
import { quantizeBlocks } from "../../../src/llama/checkpoint/gguf/quantize.ts";
import { type GgufTensorToWrite, type GgufWritten, writeGguf } from "../../../src/llama/checkpoint/gguf/write.ts";
import { writtenAdapter } from "../../../src/llama/checkpoint/gguf/written-adapter.ts";
import { readTensor } from "../../../src/llama/checkpoint/index.ts";
import { narrow } from "../../../src/llama/checkpoint/narrow.ts";
import { readSafetensorsHeader } from "../../../src/llama/checkpoint/safetensors.ts";
import { type TensorToWrite, writeSafetensors } from "../../../src/llama/checkpoint/safetensors-writer.ts";
import { dictCode, pickle, pytorchFile, tensorCode, zip } from "../checkpoint/pytorch/pytorch-fixture.ts";
import { tinyConfig } from "../generation/tiny-checkpoint.ts";
import { zipball } from "../zipball.ts";
import { kinds, servedLogits, tokensOf, writeBases, writeKind } from "./kinds.ts";
import { modulesOf, smallModel } from "./small-model.ts";

const linears = ["q_proj", "v_proj", "down_proj"] as const;
const modules = modulesOf(smallModel, linears, 3, 6);

let folder: string;
let adapter: string;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "adapter-formats-"));
  adapter = join(folder, "adapter");
  mkdirSync(adapter);
  const written = { modules, rank: 3, alpha: 6, dropout: 0, targetModules: [...linears], baseModel: "tiny" };
  await writeAdapterFolder(adapter, written, smallModel);
});
afterEach(() => rmSync(folder, { recursive: true }));

const read = async (path: string) => (await openAdapter(join(folder, path), smallModel)).modules;

/** The pairs under names of another tool's. */
function tensors(name: (module: AdapterModule, side: "A" | "B") => string): TensorToWrite[] {
  return modules.flatMap((module) => {
    const [out, input] = linearShape(smallModel, module.linear);
    return [
      { name: name(module, "A"), shape: [module.rank, input], data: module.a },
      { name: name(module, "B"), shape: [out, module.rank], data: module.b },
    ];
  });
}
const peftName = ({ layer, linear }: AdapterModule, side: "A" | "B") => tensorName(layer, linear, side);
const writeTensors = (list: TensorToWrite[]) => writeSafetensors(join(adapter, "adapter_model.safetensors"), list);

describe("an adapter_model.bin", () => {
  const bytes = (data: Float32Array) => Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  beforeEach(() => rmSync(join(adapter, "adapter_model.safetensors")));

  it("is read as the tensors it holds", async () => {
    const file = new Map(tensors(peftName).map(({ name, shape, data }) => [name, { shape, data: bytes(data) }]));
    writeFileSync(join(adapter, "adapter_model.bin"), pytorchFile(file));
    expect(await read("adapter")).toEqual(modules);
  });

  it("may hold views that are not contiguous: B transposed", async () => {
    const members = tensors(peftName).map(({ name, shape, data }, i) => {
      const [rows, columns] = shape as [number, number];
      const turned = Float32Array.from(data, (_, at) => data[(at % rows) * columns + Math.floor(at / rows)]!);
      const code = tensorCode({ key: String(i), count: data.length, shape, strides: [1, rows] });
      return { code: [name, code] as const, member: { name: `archive/data/${i}`, data: bytes(turned) } };
    });
    const code = pickle(dictCode(members.map(({ code }) => code)));
    const file = zip([{ name: "archive/data.pkl", data: code }, ...members.map(({ member }) => member)]);
    writeFileSync(join(adapter, "adapter_model.bin"), file);
    expect(await read("adapter")).toEqual(modules);
  });

  it("that was saved empty is told as such, and one alone is refused with what belongs beside it", async () => {
    const empty = zip([{ name: "archive/data.pkl", data: pickle(dictCode([])) }]);
    writeFileSync(join(adapter, "adapter_model.bin"), empty);
    await expect(read("adapter")).rejects.toMatchObject({
      code: "ADAPTER_CORRUPT",
      message: "adapter/adapter_model.bin: holds no tensors",
      hint: expect.stringContaining("trained again"),
    });
    await expect(read("adapter/adapter_model.bin")).rejects.toMatchObject({
      code: "ADAPTER_NOT_FOUND",
      hint: expect.stringContaining("adapter_config.json"),
    });
  });
});

it("a zip archive of an adapter's folder is read, whichever way it is packed", async () => {
  const files = (isStored: boolean) => [
    { path: "run-1/", mode: 0o40755, isStored: true },
    ...["adapter_config.json", "adapter_model.safetensors"].map((name) => {
      return { path: `run-1/${name}`, body: readFileSync(join(adapter, name)), isStored };
    }),
  ];
  for (const isStored of [true, false]) {
    writeFileSync(join(folder, "adapter.zip"), zipball(files(isStored)));
    expect(await read("adapter.zip")).toEqual(modules);
  }
});

it("what Chinese-LLaMA-Alpaca publishes is one of a grown vocabulary: .bin, old fields, its own tokenizer", async () => {
  const kind = kinds.find(({ name }) => name === "grown")!;
  const [base, grown] = [join(folder, "bases", kind.base), join(folder, "grown")];
  await writeBases(join(folder, "bases"));
  await writeKind(grown, kind);
  const file = join(grown, "adapter_model.safetensors");
  const whole = readFileSync(file);
  const { tensors } = await readSafetensorsHeader(file);
  const pickled = [...tensors].map(([name, { offset, bytes, shape }]) => {
    const data = whole.subarray(offset, offset + bytes);
    return [name.replace(/(embed_tokens|lm_head)\.weight/, "$1.modules_to_save.weight"), { shape, data }] as const;
  });
  const config = JSON.parse(readFileSync(join(grown, "adapter_config.json"), "utf8"));
  const old = { ...config, enable_lora: null, merge_weights: false, fan_in_fan_out: false, inference_mode: true };
  const files = [
    { path: "alpaca/adapter_config.json", body: JSON.stringify(old) },
    { path: "alpaca/adapter_model.bin", body: pytorchFile(new Map(pickled)) },
    { path: "alpaca/tokenizer.model", body: readFileSync(join(grown, "tokenizer.model")) },
  ];
  writeFileSync(join(folder, "alpaca.zip"), zipball(files));
  const engine = await openEngine(process.env);
  const [given, expected] = [
    await servedLogits(engine, base, join(folder, "alpaca.zip"), tokensOf(kind)),
    await servedLogits(engine, base, grown, tokensOf(kind)),
  ];
  expect(given.logits).toEqual(expected.logits);
  expect(given.checkpoint.tokenizer.vocabSize).toBe(tinyConfig.vocabSize + 3);
});

describe("names of an adapter's tensors", () => {
  it.each<[string, (name: string) => string]>([
    ["DistributedDataParallel", (name) => `module.${name}`],
    ["torch.compile", (name) => name.replace("base_model.model.", "base_model.model._orig_mod.")],
    ["FSDP", (name) => name.replaceAll(".layers.", "._fsdp_wrapped_module.layers.")],
    ["activation checkpointing", (name) => name.replace(/(layers\.\d+)/, "$1._checkpoint_wrapped_module")],
    ["PEFT around PEFT", (name) => `base_model.model.${name}`],
    ["one model. too many", (name) => name.replace(".model.layers", ".model.model.layers")],
    ["one model. too few", (name) => name.replace(".model.layers", ".layers")],
    ["another adapter's name in memory", (name) => name.replace(/\.weight$/, ".my-adapter.weight")],
    ["the base's modules alone", (name) => name.replace("base_model.model.model.", "")],
    ["kohya in a PEFT folder", (name) => name.replace("lora_A", "lora_down").replace("lora_B", "lora_up")],
  ])("are understood as %s writes them", async (_, rename) => {
    await writeTensors(tensors((module, side) => rename(peftName(module, side))));
    expect(await read("adapter")).toEqual(modules);
  });

  it.each([
    "base_model.model.encoder.layers.0.self_attn.q_proj.lora_A.weight",
    "base_model.model.model.layers.0.mlp.q_proj.lora_A.weight",
    "base_model.model.model.layers.0.self_attn.q_proj.lora_A",
    "base_model.model.model.layers.0.self_attn.to_q_lora.down.weight",
    "base_model.model.model.embed_tokens.lora_A.weight",
    "lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight",
    "model",
    "",
  ])("that mean nothing here are refused by name: %s", async (name) => {
    await writeTensors([...tensors(peftName), { name, shape: [1], data: Float32Array.of(1) }]);
    await expect(read("adapter")).rejects.toMatchObject({
      code: "ADAPTER_UNSUPPORTED",
      message: expect.stringContaining(`tensor ${JSON.stringify(name)} is not part of a LoRA pair`),
    });
  });
});

describe("an adapter of one file", () => {
  const module = ({ layer, linear }: AdapterModule) => peftName({ layer, linear } as AdapterModule, "A").slice(17, -14);
  const half = { A: "down", B: "up" };
  const alphas = (name: (module: AdapterModule) => string, alpha = 6) =>
    modules.map((each): TensorToWrite => ({ name: name(each), shape: [], data: Float32Array.of(alpha) }));
  const file = "one.safetensors";
  const write = (list: TensorToWrite[]) => writeSafetensors(join(folder, file), list);

  it("is kohya's, with the scale among its tensors", async () => {
    const prefix = (each: AdapterModule) => `lora_te_${module(each).replaceAll(".", "_")}`;
    const pairs = tensors((each, side) => `${prefix(each)}.lora_${half[side]}.weight`);
    await write([...pairs, ...alphas((each) => `${prefix(each)}.alpha`)]);
    expect(await read(file)).toEqual(modules);
    await write(pairs);
    expect(await read(file)).toEqual(modules.map((each) => ({ ...each, scale: 1 })));
  });

  it("is diffusers', in any of its spellings", async () => {
    for (const end of [".lora", "_lora", ".lora_linear_layer"]) {
      await write(tensors((each, side) => `${module(each)}${end}.${half[side]}.weight`));
      expect(await read(file)).toEqual(modules.map((each) => ({ ...each, scale: 1 })));
    }
  });

  it("of PEFT's is refused with what belongs beside it", async () => {
    await write(tensors(peftName));
    await expect(read(file)).rejects.toMatchObject({
      code: "ADAPTER_NOT_FOUND",
      message: `${file}: is the tensors of a PEFT adapter alone, without their scale`,
      hint: expect.stringContaining("adapter_config.json"),
    });
  });

  it("has both halves of each pair", async () => {
    await write(tensors((each, side) => `${module(each)}.lora.${half[side]}.weight`).slice(1));
    await expect(read(file)).rejects.toMatchObject({ code: "ADAPTER_MISMATCH" });
  });

  describe("in GGUF", () => {
    const parts = { q_proj: "attn_q", v_proj: "attn_v", down_proj: "ffn_down" } as Record<string, string>;
    /** Rows of q and k as GGUF's architecture llama has them: pairs (2i, 2i + 1) of each head. */
    function interleaved({ linear, b, rank }: AdapterModule): Float32Array {
      if (linear !== "q_proj") return b;
      const { headDim } = smallModel;
      const half = headDim / 2;
      return Float32Array.from(b, (_, at) => {
        const row = Math.floor(at / rank);
        const within = row % headDim;
        const from = row - within + (within % 2 === 0 ? within / 2 : half + (within - 1) / 2);
        return b[from * rank + (at % rank)]!;
      });
    }
    function tensor(name: string, shape: number[], data: Float32Array): GgufTensorToWrite {
      return {
        name,
        dtype: "F32",
        shape,
        parts: async function* () {
          yield new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
        },
      };
    }
    async function writeFile(changed: Record<string, string> = {}, isLlama = true) {
      const said = { "general.type": "adapter", "general.architecture": "llama", "adapter.type": "lora", ...changed };
      const texts = Object.entries(said).map(([key, text]) => [key, { text }] as const);
      const metadata = new Map<string, GgufWritten>([...texts, ["adapter.lora.alpha", { f32: 6 }]]);
      const list = modules.flatMap((each) => {
        const [out, input] = linearShape(smallModel, each.linear);
        const name = `blk.${each.layer}.${parts[each.linear]}.weight`;
        return [
          tensor(`${name}.lora_a`, [3, input], each.a),
          tensor(`${name}.lora_b`, [out, 3], isLlama ? interleaved(each) : each.b),
        ];
      });
      await writeGguf(join(folder, "lora.gguf"), metadata, list);
    }

    it("is read, its rows of q and k turned to Hugging Face's order where they are in Meta's", async () => {
      await writeFile();
      expect(await read("lora.gguf")).toEqual(modules);
      await writeFile({ "general.architecture": "qwen2" }, false);
      expect(await read("lora.gguf")).toEqual(modules);
    });

    it("may hold what llama.cpp's converter writes: blocks, pairs on embedding and head, norms", async () => {
      const rank = 32;
      const { vocabSize, hiddenSize } = smallModel;
      const sines = (length: number) => Float32Array.from({ length }, (_, i) => Math.sin(i));
      // Rows that are no whole blocks are written as F16.
      const list = new Map<string, readonly [number, number]>([
        ["blk.1.ffn_down.weight.lora_a", [rank, smallModel.intermediateSize]],
        ["blk.1.ffn_down.weight.lora_b", [hiddenSize, rank]],
        ["token_embd.weight.lora_a", [vocabSize, rank]],
        ["token_embd.weight.lora_b", [hiddenSize, rank]],
        ["output.weight.lora_a", [rank, hiddenSize]],
        ["output.weight.lora_b", [vocabSize, rank]],
      ]);
      const values = new Map<string, Float32Array>();
      const written = [...list].map(([name, shape]): GgufTensorToWrite => {
        const dtype = shape[1] % 32 === 0 ? "Q8_0" : "F16";
        const data = sines(shape[0] * shape[1]);
        const bytes = dtype === "Q8_0" ? quantizeBlocks(dtype, data) : narrow(data, dtype);
        values.set(name, tensorValues({ dtype, shape }, Uint8Array.from(bytes)));
        return {
          ...tensor(name, [...shape], data),
          dtype,
          parts: async function* () {
            yield bytes;
          },
        };
      });
      const norm = tensor("blk.0.attn_norm.weight", [hiddenSize], sines(hiddenSize));
      const metadata = new Map<string, GgufWritten>([
        ["general.architecture", { text: "llama" }],
        ["general.type", { text: "adapter" }],
        ["adapter.type", { text: "lora" }],
        ["general.name", { text: "Adapter" }],
        ["general.base_model.count", { u32: 1 }],
        ["general.base_model.0.name", { text: "Small" }],
        ["general.base_model.0.repo_url", { text: "https://huggingface.co/small" }],
        ["general.tags", { texts: ["lora"] }],
        ["adapter.lora.alpha", { f32: 16 }],
        ["general.file_type", { u32: 7 }],
        ["general.quantization_version", { u32: 2 }],
      ]);
      await writeGguf(join(folder, "lora.gguf"), metadata, [...written, norm]);
      await withAdapter(join(folder, "lora.gguf"), smallModel, {}, async ({ modules: found, whole, warnings }) => {
        const [down] = found;
        expect([found.length, down?.layer, down?.linear, down?.scale, warnings]).toEqual([1, 1, "down_proj", 0.5, []]);
        expect(down?.a).toEqual(values.get("blk.1.ffn_down.weight.lora_a"));
        expect(down?.b).toEqual(values.get("blk.1.ffn_down.weight.lora_b"));
        const onEmbedding = whole.outer.find(({ path }) => path === "model.embed_tokens")!;
        expect(onEmbedding.b).toEqual(values.get("token_embd.weight.lora_a"));
        const b = values.get("token_embd.weight.lora_b")!;
        expect(onEmbedding.a).toEqual(
          Float32Array.from(b, (_, i) => b[(i % hiddenSize) * rank + Math.floor(i / hiddenSize)]!),
        );
        expect(whole.outer.find(({ path }) => path === "lm_head")?.b).toEqual(values.get("output.weight.lora_b"));
        expect(await readTensor(whole.replaced.get("model.layers.0.input_layernorm.weight")!)).toEqual(
          sines(hiddenSize),
        );
      });
    });

    it("says which of its texts is not followed", async () => {
      await writeFile({ "adapter.lora.prompt_prefix": "Translate:" });
      const file = join(folder, "lora.gguf");
      const { warnings } = await openAdapter(file, smallModel);
      expect(warnings).toEqual([`${file}: "adapter.lora.prompt_prefix" "Translate:" is not followed`]);
    });

    it("that llama-lora export wrote is the adapter it was written from", async () => {
      const { metadata, tensors } = writtenAdapter(modules, smallModel, { name: "x", dtype: "F32", factor: 1 });
      await writeGguf(join(folder, "lora.gguf"), metadata, tensors);
      expect(await read("lora.gguf")).toEqual(modules);
    });

    it.each([
      [{ "general.type": "model" }, "ADAPTER_UNSUPPORTED", "is a GGUF model, no adapter"],
      [{ "adapter.type": "control_vector" }, "ADAPTER_UNSUPPORTED", '"control_vector" is not "lora"'],
      [{ "general.architecture": "gpt2" }, "ADAPTER_UNSUPPORTED", '"gpt2" is not LLaMA'],
      [{ "adapter.alora.invocation_tokens": "" }, "ADAPTER_UNSUPPORTED", "an activated LoRA (aLoRA) is not supported"],
    ])("is refused by name for %j", async (metadata, code, message) => {
      await writeFile(metadata);
      await expect(read("lora.gguf")).rejects.toMatchObject({ code, message: expect.stringContaining(message) });
    });
  });
});

import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { list } from "tar";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  type AdapterToWrite,
  openAdapter,
  writeAdapterArchive,
  writeAdapterFolder,
} from "../../../src/llama/adapter/index.ts";
import { mostAdapterBytes } from "../../../src/llama/adapter/size.ts";
import { tensorName } from "../../../src/llama/adapter/tensor-name.ts";
import { readSafetensorsHeader } from "../../../src/llama/checkpoint/safetensors.ts";
import { type TensorToWrite, writeSafetensors } from "../../../src/llama/checkpoint/safetensors-writer.ts";
import { tarball } from "../tarball.ts";
import { modulesOf, smallModel } from "./small-model.ts";

const linears = ["q_proj", "v_proj", "down_proj"] as const;
const written: AdapterToWrite = {
  modules: modulesOf(smallModel, linears, 3, 6),
  rank: 3,
  alpha: 6,
  dropout: 0.05,
  targetModules: [...linears],
  baseModel: "tiny",
};

let folder: string;
let adapter: string;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "adapter-test-"));
  adapter = join(folder, "adapter");
  mkdirSync(adapter);
  await writeAdapterFolder(adapter, written, smallModel);
});
afterEach(() => rmSync(folder, { recursive: true }));

const configFile = () => join(adapter, "adapter_config.json");
function changeConfig(change: Record<string, unknown>): void {
  writeFileSync(configFile(), JSON.stringify({ ...JSON.parse(readFileSync(configFile(), "utf8")), ...change }));
}

const shapes: Record<string, [number, number]> = { q_proj: [16, 12], v_proj: [8, 12], down_proj: [12, 20] };
function tensors(): TensorToWrite[] {
  return written.modules.flatMap(({ layer, linear, a, b }) => [
    { name: tensorName(layer, linear, "A"), shape: [3, shapes[linear]![1]], data: a },
    { name: tensorName(layer, linear, "B"), shape: [shapes[linear]![0], 3], data: b },
  ]);
}
const writeTensors = (changed: TensorToWrite[]) =>
  writeSafetensors(join(adapter, "adapter_model.safetensors"), changed);

describe("an adapter that was written", () => {
  it("is read back bit for bit, with its scale", async () => {
    expect((await openAdapter(adapter, smallModel)).modules).toEqual(written.modules);
  });

  it("keeps the prompt template that it was trained with, in a file of its own", async () => {
    expect((await openAdapter(adapter, smallModel)).promptTemplate).toBeNull();
    const promptTemplate = { prompt_template_name: "chat", chat_template: "{{ messages[0].content }}\n" } as const;
    const file = await writeAdapterArchive(join(folder, "a.tar.gz"), { ...written, promptTemplate }, smallModel);
    expect((await openAdapter(file, smallModel)).promptTemplate).toEqual(promptTemplate);
    const record = join(adapter, "prompt_template.json");
    writeFileSync(record, '{"prompt_template_name": "chatml"}');
    expect((await openAdapter(adapter, smallModel)).promptTemplate).toEqual({ prompt_template_name: "chatml" });
    writeFileSync(record, '{"prompt_template_name": "vicuna"}');
    await expect(openAdapter(adapter, smallModel)).rejects.toMatchObject({
      code: "PROMPT_TEMPLATE_INVALID",
      message: expect.stringContaining("adapter/prompt_template.json"),
    });
  });

  it("has PEFT's tensor names and shapes, and a config with sorted keys", async () => {
    const { tensors, metadata } = await readSafetensorsHeader(join(adapter, "adapter_model.safetensors"));
    expect(tensors.size).toBe(12);
    expect(tensors.get("base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight")).toMatchObject({
      dtype: "F32",
      shape: [8, 3],
    });
    expect(tensors.get("base_model.model.model.layers.0.mlp.down_proj.lora_A.weight")).toMatchObject({
      shape: [3, 20],
    });
    expect(metadata.get("format")).toBe("pt");
    const config = JSON.parse(readFileSync(configFile(), "utf8"));
    expect(Object.keys(config)).toEqual(Object.keys(config).toSorted());
    expect(config).toMatchObject({
      peft_type: "LORA",
      task_type: "CAUSAL_LM",
      r: 3,
      lora_alpha: 6,
      target_modules: ["q_proj", "v_proj", "down_proj"],
      base_model_name_or_path: "tiny",
    });
  });

  it("is an archive with exactly the two files at its top level, the same bytes each time", async () => {
    const file = await writeAdapterArchive(join(folder, "adapter.tar.gz"), written, smallModel);
    const names: string[] = [];
    await list({ file, onReadEntry: ({ path }) => names.push(path) });
    expect(names).toEqual(["adapter_config.json", "adapter_model.safetensors"]);
    expect((await openAdapter(file, smallModel)).modules).toEqual(written.modules);
    const again = await writeAdapterArchive(join(folder, "again.tar.gz"), written, smallModel);
    expect(readFileSync(again).equals(readFileSync(file))).toBe(true);
  });

  it("leaves nothing behind when it cannot be written", async () => {
    const modules = written.modules.map((module) => ({ ...module, a: module.a.map(() => Number.NaN) }));
    await expect(writeAdapterArchive(join(folder, "x.tar.gz"), { ...written, modules }, smallModel)).rejects.toThrow();
    expect(readdirSync(folder)).toEqual(["adapter"]);
  });
});

describe("openAdapter", () => {
  it("takes an archive whose files lie below one folder, and a folder that holds the adapter's", async () => {
    const files = readdirSync(adapter).map((path) => ({
      path: `run-1/${path}`,
      body: readFileSync(join(adapter, path)),
    }));
    writeFileSync(join(folder, "a.bin"), tarball([{ path: "run-1/", type: "5" }, ...files]));
    expect((await openAdapter(join(folder, "a.bin"), smallModel)).modules).toEqual(written.modules);
    rmSync(join(folder, "a.bin"));
    expect((await openAdapter(folder, smallModel)).modules).toEqual(written.modules);
  });

  it("downloads an archive, and says what the server answered when it cannot", async () => {
    const archive = readFileSync(await writeAdapterArchive(join(folder, "a.tar.gz"), written, smallModel));
    const server = createServer(({ url }, answer) => {
      answer.writeHead(url === "/a.tar.gz?key=1" ? 200 : 404).end(archive);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    try {
      expect((await openAdapter(`${url}/a.tar.gz?key=1`, smallModel)).modules).toEqual(written.modules);
      const failure = openAdapter(`${url}/b.tar.gz?key=secret`, smallModel);
      await expect(failure).rejects.toMatchObject({
        code: "ADAPTER_NOT_FOUND",
        message: expect.stringContaining("404"),
      });
      await expect(failure).rejects.not.toThrow("secret");
    } finally {
      server.closeAllConnections();
      server.close();
    }
    await expect(openAdapter(`${url}/a.tar.gz`, smallModel)).rejects.toMatchObject({ code: "ADAPTER_NOT_FOUND" });
  });

  it("accepts names with .default. and without the prefix, with a warning for the latter", async () => {
    await writeTensors(tensors().map((t) => ({ ...t, name: t.name.replace("_A.weight", "_A.default.weight") })));
    expect(await openAdapter(adapter, smallModel)).toMatchObject({ modules: written.modules, warnings: [] });
    await writeTensors(tensors().map((t) => ({ ...t, name: t.name.replace("base_model.model.", "") })));
    const { modules, warnings } = await openAdapter(adapter, smallModel);
    expect(modules).toEqual(written.modules);
    expect(warnings).toEqual([expect.stringContaining("PEFT would load none of them")]);
  });

  it("reads half precision", async () => {
    await writeTensors(tensors().map((t) => ({ ...t, dtype: "BF16" as const })));
    const [first] = (await openAdapter(adapter, smallModel)).modules;
    // bfloat16 keeps 8 significant bits: a relative error of at most 2^-8.
    const errors = first!.a.map((value, i) => Math.abs(value - written.modules[0]!.a[i]!));
    expect(Math.max(...errors)).toBeLessThanOrEqual(2 ** -8);
  });

  it("takes the config that PEFT itself needs at least, and only warns of fields it does not know", async () => {
    const least = {
      peft_type: "LORA",
      task_type: "CAUSAL_LM",
      r: 3,
      lora_alpha: 6,
      target_modules: linears,
      new_in_2030: 1,
    };
    writeFileSync(configFile(), JSON.stringify(least));
    const { modules, warnings } = await openAdapter(adapter, smallModel);
    expect(modules).toEqual(written.modules);
    expect(warnings).toEqual([expect.stringContaining("new_in_2030")]);
  });
});

describe("scale and targets", () => {
  const scales = async () => (await openAdapter(adapter, smallModel)).modules.map(({ scale }) => scale);

  it("is alpha / sqrt(r) with rsLoRA", async () => {
    changeConfig({ use_rslora: true });
    expect(new Set(await scales())).toEqual(new Set([6 / Math.sqrt(3)]));
  });

  it("follows alpha_pattern: the first key that ends the path wins", async () => {
    changeConfig({ alpha_pattern: { "layers.0.self_attn.q_proj": 1.5, q_proj: 9, "(v|down)_proj": 12 } });
    expect(await scales()).toEqual([0.5, 4, 4, 3, 4, 4]);
  });

  it("follows rank_pattern", async () => {
    changeConfig({ r: 8, rank_pattern: { ".*_proj": 3 } });
    expect(await scales()).toEqual([2, 2, 2, 2, 2, 2]);
  });

  it("understands a regular expression, exclude_modules and layers_to_transform", async () => {
    changeConfig({ target_modules: ".*\\.(q_proj|v_proj|down_proj)" });
    expect(await scales()).toHaveLength(6);
    changeConfig({ target_modules: ["q_proj", "v_proj", "o_proj", "mlp.down_proj"], exclude_modules: ["o_proj"] });
    expect(await scales()).toHaveLength(6);
    changeConfig({ target_modules: [...linears], exclude_modules: null, layers_to_transform: 1 });
    await writeTensors(tensors().filter(({ name }) => name.includes("layers.1")));
    expect(await scales()).toHaveLength(3);
  });

  it("answers a regular expression that would take for ever elsewhere", async () => {
    changeConfig({ target_modules: "(.*.*)*(.*.*)*(.*.*)*!" });
    await expect(openAdapter(adapter, smallModel)).rejects.toMatchObject({ code: "ADAPTER_MISMATCH" });
    changeConfig({ target_modules: "(.*.*)*(.*.*)*(.*.*)*proj" });
    await expect(openAdapter(adapter, smallModel)).rejects.toThrow("is missing");
  });

  it.each([
    ["of too many characters", "a?".repeat(2001), "more than 4000 characters"],
    ["of too many steps", ".{1000}".repeat(20), "more than 10000 steps"],
    ["that looks around", "(?!x).*q_proj", "cannot be used"],
    ["that is none", "(", "cannot be used"],
  ])("refuses regular expressions %s, naming the field", async (_, expression, why) => {
    changeConfig({ target_modules: expression });
    const failure = { code: "ADAPTER_CONFIG", message: expect.stringContaining(why) };
    await expect(openAdapter(adapter, smallModel)).rejects.toMatchObject(failure);
    changeConfig({ target_modules: [...linears], rank_pattern: { [expression]: 3 } });
    await expect(openAdapter(adapter, smallModel)).rejects.toMatchObject({
      ...failure,
      message: expect.stringContaining("rank_pattern"),
    });
  });

  it("takes a pattern for every linear of the largest model, the first key that matches before the others", async () => {
    const names = Array.from({ length: 1024 }, (_, layer) => `model.layers.${layer}.self_attn.q_proj`);
    changeConfig({ alpha_pattern: { ...Object.fromEntries(names.map((name) => [name, 9])), "q_.*": 5, v_proj: 4 } });
    expect((await scales()).sort()).toEqual([4 / 3, 4 / 3, 2, 2, 3, 3]);
    changeConfig({ alpha_pattern: { ".*proj": 6, ...Object.fromEntries(names.map((name) => [name, 9])) } });
    expect(await scales()).toEqual(Array(6).fill(2));
  });
});

describe("an adapter that costs more than it may", () => {
  it("is refused by what its config promises, before its tensors are read", async () => {
    writeFileSync(join(adapter, "adapter_model.safetensors"), "no tensors");
    changeConfig({ r: 1_500_000 });
    await expect(openAdapter(adapter, smallModel)).rejects.toMatchObject({
      code: "ADAPTER_UNSUPPORTED",
      message: expect.stringContaining("has rank 1500000, up to 4096"),
    });
    changeConfig({ r: 3 });
    await expect(openAdapter(adapter, smallModel, { mostBytes: 1919 })).rejects.toMatchObject({
      code: "ADAPTER_UNSUPPORTED",
      message: expect.stringContaining("takes 1920 bytes, 1919 are allowed"),
      hint: expect.stringContaining("LLAMA_ADAPTER_BYTES"),
    });
  });

  it("is limited by the model's size, or by LLAMA_ADAPTER_BYTES", () => {
    expect(mostAdapterBytes(smallModel, {})).toBe(2 ** 28);
    expect(mostAdapterBytes({ ...smallModel, layers: 100_000 }, {})).toBe(4 * 100_000 * 1320 + 4 * (40 * 12 + 12));
    expect(mostAdapterBytes({ ...smallModel, vocabSize: 2 ** 30 }, {})).toBe(2 ** 32);
    expect(mostAdapterBytes(smallModel, { LLAMA_ADAPTER_BYTES: "77" })).toBe(77);
    for (const wrong of ["0", "1e9", "-1", "4 GiB"]) {
      expect(() => mostAdapterBytes(smallModel, { LLAMA_ADAPTER_BYTES: wrong })).toThrow("LLAMA_ADAPTER_BYTES");
    }
  });

  it("is refused for a header that is larger than its tensors need", async () => {
    const entries = Array.from({ length: 200_000 }, (_, i) => `"${i}":{}`).join(",");
    const header = Buffer.from(`{${entries}}`);
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(header.length));
    writeFileSync(join(adapter, "adapter_model.safetensors"), Buffer.concat([length, header]));
    await expect(openAdapter(adapter, smallModel)).rejects.toMatchObject({
      code: "ADAPTER_CORRUPT",
      message: expect.stringContaining(`its header has ${header.length} bytes`),
    });
  });

  it("is refused for a config that nests deeply or holds too many values", async () => {
    for (const deep of ["[".repeat(100_000), `${"[".repeat(65)}${"]".repeat(65)}`]) {
      writeFileSync(configFile(), `{"target_modules":${deep}}`);
      await expect(openAdapter(adapter, smallModel)).rejects.toMatchObject({
        code: "ADAPTER_CONFIG",
        message: expect.stringContaining("nested deeper than 64 levels"),
      });
    }
    writeFileSync(configFile(), `{"x":[${"0,".repeat(50_001)}0]}`);
    await expect(openAdapter(adapter, smallModel)).rejects.toThrow("more than 50000 values");
  });

  it("of which other files lie in the archive has only its own unpacked", async () => {
    const files = readdirSync(adapter).map((path) => ({ path, body: readFileSync(join(adapter, path)) }));
    const archive = join(folder, "a.tar");
    writeFileSync(archive, tarball([{ path: "optimizer.pt", body: Buffer.alloc(3 << 20) }, ...files]));
    expect((await openAdapter(archive, smallModel)).modules).toEqual(written.modules);
    const config = { path: "adapter_config.json", body: Buffer.alloc((1 << 20) + 1, " ") };
    writeFileSync(archive, tarball([config]));
    await expect(openAdapter(archive, smallModel)).rejects.toMatchObject({ code: "ARCHIVE_UNSAFE" });
  });
});

/** Every field that PEFT writes for plain LoRA, with the values it writes: of its current version and those of 2023. */
const asPeftWrites = {
  ...{ alpha_pattern: {}, auto_mapping: null, base_model_name_or_path: "org/base", bias: "none", corda_config: null },
  ...{ eva_config: null, exclude_modules: null, fan_in_fan_out: false, inference_mode: true, init_lora_weights: true },
  ...{ layer_replication: null, layers_pattern: null, layers_to_transform: null, loftq_config: {}, lora_bias: false },
  ...{ lora_dropout: 0.05, megatron_config: null, megatron_core: "megatron.core", modules_to_save: null },
  ...{ peft_type: "LORA", qalora_group_size: 16, rank_pattern: {}, revision: null, target_parameters: null },
  ...{ task_type: "CAUSAL_LM", trainable_token_indices: null, use_dora: false, use_qalora: false, use_rslora: false },
  ...{ enable_lora: null, merge_weights: false, peft_version: "0.17.0", ensure_weight_tying: false, use_bdlora: null },
  ...{ arrow_config: null, alora_invocation_tokens: null, runtime_config: { ephemeral_gpu_offload: false } },
};

describe("the types of adapter_config.json's fields", () => {
  it("are those that PEFT writes, null where it writes null", async () => {
    changeConfig(asPeftWrites);
    expect(await openAdapter(adapter, smallModel)).toMatchObject({ modules: written.modules, warnings: [] });
  });

  it.each([...Object.keys(asPeftWrites), "r", "lora_alpha", "target_modules", "use_later_feature"])(
    "are checked, whatever the field is for: %s",
    async (field) => {
      const takesText = /^(layers_pattern|target_modules|exclude_modules|modules_to_save)$/.test(field);
      changeConfig({ [field]: takesText ? { a: 1 } : [[null]] });
      await expect(openAdapter(adapter, smallModel)).rejects.toMatchObject({
        code: "ADAPTER_CONFIG",
        message: expect.stringContaining(`adapter/adapter_config.json: ${field} must be `),
        hint: expect.any(String),
      });
    },
  );

  it.each([
    [{ use_rslora: "true" }, 'use_rslora must be true or false, found "true"'],
    [{ use_rslora: 1 }, "use_rslora must be true or false, found 1"],
    [{ use_dora: "false" }, 'use_dora must be true or false, found "false"'],
    [{ use_later_feature: 0 }, "use_later_feature must be true, false or an object, found 0"],
    [{ fan_in_fan_out: "no" }, 'fan_in_fan_out must be true or false, found "no"'],
    [{ lora_alpha: null }, "lora_alpha must be a number, found null"],
    [{ lora_alpha: true }, "lora_alpha must be a number, found true"],
    [{ r: 3.5 }, "r must be a positive integer, found 3.5"],
    [{ bias: "some" }, 'bias must be "none", "all" or "lora_only", found "some"'],
    [{ layers_to_transform: [-1] }, "layers_to_transform must be a layer's number or a list of them, found [-1]"],
    [{ base_model_name_or_path: 7 }, "base_model_name_or_path must be a text, found 7"],
    [{ peft_type: null }, "peft_type must be a text, found null"],
  ])("that are wrong are refused with field and value: %j", async (change, message) => {
    changeConfig(change);
    await expect(openAdapter(adapter, smallModel)).rejects.toMatchObject({
      code: "ADAPTER_CONFIG",
      message: `adapter/adapter_config.json: ${message}`,
    });
  });
});

describe("an adapter that loads with a warning", () => {
  const warnings = async (base: string | null = null) => (await openAdapter(adapter, smallModel, { base })).warnings;

  it("changes nothing: every B is zero, or every A, or alpha", async () => {
    const zero = (side: string) => (t: TensorToWrite) =>
      t.name.includes(`lora_${side}`) ? { ...t, data: t.data.map(() => 0) } : t;
    for (const side of ["A", "B"]) {
      await writeTensors(tensors().map(zero(side)));
      expect(await warnings()).toEqual([
        expect.stringMatching(/^adapter\/adapter_model\.safetensors: every A or B is zero/),
      ]);
    }
    await writeTensors(tensors().map((t, i) => (i === 1 ? t : zero("B")(t))));
    expect(await warnings()).toEqual([]);
    changeConfig({ lora_alpha: 0 });
    expect(await warnings()).toHaveLength(1);
  });

  it.each([
    ["meta-llama/Llama-2-7b-hf", "meta-llama/Llama-2-7b-chat-hf"],
    ["meta-llama/Llama-2-7b-hf", "llama-lora-cog/tiny"],
    ["mistralai/Mistral-7B-v0.1", "mistralai/Mistral-7B-v0.3"],
    ["/home/someone/models/Llama-2-7b-hf/", "huggyllama/llama-7b"],
    ["/cache/models--a--Llama-2-7b-hf/snapshots/main", "huggyllama/llama-7b"],
  ])("names another base: %s on %s", async (named, loaded) => {
    changeConfig({ base_model_name_or_path: named });
    expect(await warnings(loaded)).toEqual([
      `adapter/adapter_config.json: base_model_name_or_path is "${named}", the loaded model is "${loaded}"`,
    ]);
  });

  it.each([
    ["decapoda-research/llama-7b-hf", "huggyllama/llama-7b"],
    ["baffo32/decapoda-research-llama-7B-hf", "llama-7b"],
    ["unsloth/llama-3-8b-bnb-4bit", "meta-llama/Meta-Llama-3-8B"],
    ["meta-llama/Llama-2-7b-hf", null],
    ["weights", "llama-lora-cog/tiny"],
    ["tiny", "llama-lora-cog/tiny"],
    ["./out/checkpoint-500", "meta-llama/Llama-2-7b-hf"],
    ["/src/weights", "meta-llama/Llama-2-7b-hf"],
    ["", "meta-llama/Llama-2-7b-hf"],
    [null, "meta-llama/Llama-2-7b-hf"],
  ])("is not one that names the same base in other words, or none: %s on %s", async (named, loaded) => {
    changeConfig({ base_model_name_or_path: named });
    expect(await warnings(loaded)).toEqual([]);
  });
});

describe("an adapter that is refused", () => {
  it.each([
    [{ use_dora: true }, "ADAPTER_MISMATCH", 'q_proj.lora_magnitude_vector" is missing'],
    [{ lora_bias: true }, "ADAPTER_MISMATCH", 'q_proj.lora_B.bias" is missing'],
    [{ modules_to_save: ["embed_tokens"] }, "ADAPTER_MISMATCH", 'embed_tokens.weight" is missing'],
    [{ trainable_token_indices: [1] }, "ADAPTER_MISMATCH", 'the rows of the tokens of "embed_tokens" are missing'],
    [{ target_parameters: ["x"] }, "ADAPTER_UNSUPPORTED", "target_parameters"],
    [{ layer_replication: [[0, 1]] }, "ADAPTER_UNSUPPORTED", "layer_replication"],
    [{ use_qalora: true }, "ADAPTER_UNSUPPORTED", "use_qalora"],
    [{ use_something_new: true }, "ADAPTER_UNSUPPORTED", "use_something_new"],
    [{ alora_invocation_tokens: [1] }, "ADAPTER_UNSUPPORTED", "alora_invocation_tokens"],
    [{ fan_in_fan_out: true }, "ADAPTER_UNSUPPORTED", "fan_in_fan_out"],
    [{ peft_type: "lora" }, "ADAPTER_UNSUPPORTED", 'peft_type must be "LORA", found "lora"'],
    [{ task_type: "SEQ_CLS" }, "ADAPTER_UNSUPPORTED", "task_type"],
    [{ layers_pattern: ["h"] }, "ADAPTER_UNSUPPORTED", 'layers_pattern must be "layers"'],
    [{ r: 0 }, "ADAPTER_CONFIG", "r must be a positive integer, found 0"],
    [{ r: "8" }, "ADAPTER_CONFIG", 'found "8"'],
    [{ lora_alpha: "x" }, "ADAPTER_CONFIG", "lora_alpha must be a number"],
    [{ target_modules: [1] }, "ADAPTER_CONFIG", "target_modules"],
    [{ target_modules: "(" }, "ADAPTER_CONFIG", "regular expression"],
    [{ rank_pattern: { q_proj: -1 } }, "ADAPTER_CONFIG", "rank_pattern"],
    [{ layers_to_transform: ["1"] }, "ADAPTER_CONFIG", "layers_to_transform"],
    [{ target_modules: ["query_key_value"] }, "ADAPTER_MISMATCH", "match no linear layer"],
    [
      { target_modules: ["q_proj", "v_proj"] },
      "ADAPTER_CONFIG",
      'down_proj.lora_A.weight": adapter/adapter_config.json does not target',
    ],
    [{ target_modules: [...linears, "k_proj"] }, "ADAPTER_MISMATCH", 'k_proj.lora_A.weight" is missing'],
    [{ r: 4 }, "ADAPTER_MISMATCH", "shape [4, 12] expected, [3, 12] found"],
  ])("config %j", async (change, code, message) => {
    changeConfig(change);
    const refused = openAdapter(adapter, smallModel);
    await expect(refused).rejects.toMatchObject({ code, message: expect.stringContaining(message) });
    await expect(refused).rejects.toThrow(/^adapter\//);
  });

  const extra = (name: string): TensorToWrite => ({ name, shape: [1], data: Float32Array.of(1) });
  const q = "base_model.model.model.layers.0.self_attn.q_proj";
  it.each<[string, () => TensorToWrite[], string, string]>([
    [
      "an A without B",
      () => tensors().slice(0, -1),
      "ADAPTER_MISMATCH",
      'layers.1.mlp.down_proj.lora_B.weight" is missing',
    ],
    ["no tensors", () => [], "ADAPTER_CORRUPT", "holds no tensors"],
    ["DoRA", () => [...tensors(), extra(`${q}.lora_magnitude_vector`)], "ADAPTER_CONFIG", "does not set use_dora"],
    ["a bias", () => [...tensors(), extra(`${q}.lora_B.bias`)], "ADAPTER_CONFIG", "does not set lora_bias"],
    ["lm_head", () => [...tensors(), extra("base_model.model.lm_head.weight")], "ADAPTER_MISMATCH", "lm_head"],
    [
      "a weight that is not in modules_to_save",
      () => [...tensors(), extra("base_model.model.model.layers.0.input_layernorm.weight")],
      "ADAPTER_CONFIG",
      "does not name it in modules_to_save",
    ],
    [
      "trained tokens",
      () => [...tensors(), extra("base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta")],
      "ADAPTER_CONFIG",
      "adapter/adapter_config.json names no tokens of it",
    ],
    ["LoHa", () => [...tensors(), extra(`${q}.hada_w1_a`)], "ADAPTER_UNSUPPORTED", "belongs to LoHa"],
    [
      "an unknown tensor",
      () => [...tensors(), extra("__proto__")],
      "ADAPTER_UNSUPPORTED",
      '"__proto__" is not part of a LoRA pair',
    ],
    [
      "a layer too many",
      () => [...tensors(), extra(`${q.replace("0", "2")}.lora_A.weight`)],
      "ADAPTER_MISMATCH",
      "the model has 2 layers",
    ],
    [
      "a tensor under two names",
      () => [...tensors(), extra(`${q}.lora_A.default.weight`)],
      "ADAPTER_CORRUPT",
      "is there twice",
    ],
    [
      "a value that is not finite",
      () => tensors().map((t, i) => (i === 5 ? { ...t, data: t.data.map((x, k) => (k === 7 ? Number.NaN : x)) } : t)),
      "ADAPTER_CORRUPT",
      "not a finite number",
    ],
    [
      "another model's width",
      () => tensors().map((t, i) => (i === 0 ? { ...t, shape: [3, 11], data: t.data.subarray(3) } : t)),
      "ADAPTER_MISMATCH",
      `tensor "${q}.lora_A.weight": shape [3, 12] expected, [3, 11] found`,
    ],
  ])("%s", async (_, change, code, message) => {
    await writeTensors(change());
    await expect(openAdapter(adapter, smallModel)).rejects.toMatchObject({
      code,
      message: expect.stringContaining(message),
    });
  });

  it("a truncated file, named as the archive's own", async () => {
    const bytes = readFileSync(join(adapter, "adapter_model.safetensors"));
    const config = { path: "adapter_config.json", body: readFileSync(configFile()) };
    const cut = { path: "adapter_model.safetensors", body: bytes.subarray(0, -4) };
    writeFileSync(join(folder, "cut.tar"), tarball([config, cut]));
    await expect(openAdapter(join(folder, "cut.tar"), smallModel)).rejects.toMatchObject({
      code: "ADAPTER_CORRUPT",
      message: expect.stringMatching(/^cut\.tar\/adapter_model\.safetensors: is truncated/),
    });
  });

  it("a damaged adapter_model.bin, a folder or archive without an adapter, a file that is neither", async () => {
    const refusal = (path: string) => openAdapter(join(folder, path), smallModel);
    cpSync(adapter, join(folder, "bin"), { recursive: true });
    rmSync(join(folder, "bin/adapter_model.safetensors"));
    await expect(refusal("bin")).rejects.toThrow("bin: there is neither adapter_model.safetensors");
    writeFileSync(join(folder, "bin/adapter_model.bin"), "x");
    await expect(refusal("bin")).rejects.toMatchObject({ code: "ADAPTER_CORRUPT" });
    await expect(refusal(".")).rejects.toThrow("there are several adapters");
    writeFileSync(join(folder, "empty.tar"), tarball([{ path: "readme", body: "" }]));
    await expect(refusal("empty.tar")).rejects.toThrow("empty.tar: there is no adapter_config.json");
    writeFileSync(join(folder, "notes.txt"), "hello");
    await expect(refusal("notes.txt")).rejects.toThrow("notes.txt: is not a .tar, .tar.gz or .zip archive");
    await expect(refusal("nowhere")).rejects.toThrow("nowhere: no such file or folder");
    expect(existsSync(join(folder, "nowhere"))).toBe(false);
  });
});

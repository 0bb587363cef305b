import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isCodedError } from "../../../src/errors/index.ts";
import { openAdapter } from "../../../src/llama/adapter/index.ts";
import { parseTensorName } from "../../../src/llama/adapter/tensor-name.ts";
import { type GgufWritten, writeGguf } from "../../../src/llama/checkpoint/gguf/write.ts";
import { writeSafetensors } from "../../../src/llama/checkpoint/safetensors-writer.ts";
import { bounded, damaged, expectLinear, soup, valueOrCode } from "../../fuzzing.ts";
import { dictCode, pickle, pytorchFile, zip } from "../checkpoint/pytorch/pytorch-fixture.ts";
import { zipball } from "../zipball.ts";
import { smallModel } from "./small-model.ts";

const parts = [
  ...["base_model", "model", "module", "_orig_mod", "_fsdp_wrapped_module", "layers", "0", "1", "99999999999"],
  ...["self_attn", "mlp", "q_proj", "down_proj", "embed_tokens", "lm_head", "norm", "input_layernorm"],
  ...["lora_A", "lora_B", "lora_down", "lora_up", "lora_embedding_A", "lora_magnitude_vector", "default", "weight"],
  ...["bias", "alpha", "modules_to_save", "base_layer", "original_module", "__proto__", "lora_te_model_layers_0_mlp"],
];
const name = fc.oneof(
  fc.array(fc.constantFrom(...parts), { maxLength: 9 }).map((list) => list.join(".")),
  soup([...parts, ".", "_"], 12),
);

describe("whatever a tensor of an adapter is called", () => {
  it("it is a part of a module of the model, or refused by its name", () => {
    const property = fc.asyncProperty(name, async (text) => {
      const parsed = await valueOrCode(() => parseTensorName(text, "file"), "ADAPTER_UNSUPPORTED");
      if (isCodedError(parsed)) {
        expect(parsed.message).toContain(JSON.stringify(text.slice(0, 200)));
        return;
      }
      const { path } = parsed;
      expect(path).toMatch(/^(lm_head|model\.(embed_tokens|norm|layers\.\d{1,9}\.[a-z_.]+))$/);
      // A name that was understood means the same again.
      expect(parseTensorName(`base_model.model.${path}.lora_magnitude_vector`, "file").path).toBe(path);
    });
    return fc.assert(property, { ...bounded, numRuns: 2000 });
  });

  it.each([
    ["wrappers", (n: number) => `${"module.".repeat(n / 7)}lm_head.weight`],
    ["prefixes", (n: number) => `${"model_".repeat(n / 6)}layers_0_mlp_down_proj.lora_up.weight`],
    ["endings", (n: number) => `lm_head${".lora_A".repeat(n / 7)}`],
    ["dashes", (n: number) => `lm_head.lora_A.${"-".repeat(n)}.weight`],
    ["digits", (n: number) => `model.layers.${"0".repeat(n)}.mlp.up_proj.weight`],
  ])("its length costs no more than time in proportion: %s", async (_, input) => {
    await expectLinear(input, (text: string) =>
      valueOrCode(() => parseTensorName(text, "file"), "ADAPTER_UNSUPPORTED"),
    );
  });
});

describe("whatever a file of an adapter holds, it", () => {
  const codes = ["ADAPTER_NOT_FOUND", "ADAPTER_CONFIG", "ADAPTER_UNSUPPORTED", "ADAPTER_CORRUPT"] as const;
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "adapter-fuzz-"));
  });
  afterAll(() => rmSync(folder, { recursive: true }));
  const data = Buffer.from(Float32Array.from({ length: 24 }, (_, i) => i + 1).buffer);
  const tensors = new Map([
    ["base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", { shape: [2, 12], data }],
    ["base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight", { shape: [16, 2], data: Buffer.alloc(128, 1) }],
  ]);
  const config = { peft_type: "LORA", r: 2, lora_alpha: 2, target_modules: ["q_proj"], layers_to_transform: [0] };

  const check = async (file: string, bytes: Uint8Array) => {
    writeFileSync(join(folder, file), bytes);
    const read = await valueOrCode(
      () => openAdapter(join(folder, file), smallModel),
      ...codes,
      "ADAPTER_MISMATCH",
      "ARCHIVE_UNSAFE",
    );
    if (isCodedError(read)) expect(read.message.length).toBeLessThan(1500);
    else for (const { a, b } of read.modules) expect([...a, ...b].every(Number.isFinite)).toBe(true);
  };

  it("is an adapter of finite numbers, or refused with a code: GGUF", async () => {
    const texts = { "general.type": "adapter", "general.architecture": "llama", "adapter.type": "lora" };
    const metadata = new Map<string, GgufWritten>([
      ...Object.entries(texts).map(([key, text]) => [key, { text }] as const),
      ["adapter.lora.alpha", { f32: 2 }],
    ]);
    const named = [...tensors.values()].map(({ shape, data: bytes }, i) => {
      const parts = async function* () {
        yield bytes;
      };
      return { name: `blk.0.attn_q.weight.lora_${"ab"[i]}`, dtype: "F32" as const, shape, parts };
    });
    const whole = join(folder, "whole.gguf");
    await writeGguf(whole, metadata, named);
    expect((await openAdapter(whole, smallModel)).modules).toHaveLength(1);
    await fc.assert(
      fc.asyncProperty(damaged(readFileSync(whole)), (bytes) => check("x.gguf", bytes)),
      bounded,
    );
  });

  it("is an adapter of finite numbers, or refused with a code: safetensors of kohya's kind", async () => {
    const module = "lora_te_model_layers_0_self_attn_q_proj";
    const whole = join(folder, "whole.safetensors");
    await writeSafetensors(whole, [
      { name: `${module}.lora_down.weight`, shape: [2, 12], data: new Float32Array(24).fill(1) },
      { name: `${module}.lora_up.weight`, shape: [16, 2], data: new Float32Array(32).fill(1) },
      { name: `${module}.alpha`, shape: [], data: Float32Array.of(1) },
    ]);
    expect((await openAdapter(whole, smallModel)).modules).toHaveLength(1);
    await fc.assert(
      fc.asyncProperty(damaged(readFileSync(whole)), (bytes) => check("x.safetensors", bytes)),
      { ...bounded, numRuns: 150 },
    );
  });

  it("is an adapter of finite numbers, or refused with a code: the JSON of Cog's own client", async () => {
    const archive = zipball([
      { path: "adapter_config.json", body: JSON.stringify(config) },
      { path: "adapter_model.bin", body: pytorchFile(tensors), isStored: true },
    ]);
    const text = Buffer.from(`{"status":"ok","weights":"data:application/zip;base64,${archive.toString("base64")}"}`);
    writeFileSync(join(folder, "whole.json"), text);
    expect((await openAdapter(join(folder, "whole.json"), smallModel)).modules).toHaveLength(1);
    const beginning = soup(['{"weights":"', "data:", ";base64,", "AAAA", "=", '"', "}", "\u0000", " "], 12).map(
      Buffer.from,
    );
    await fc.assert(
      fc.asyncProperty(fc.oneof(damaged(text), damaged(text.subarray(0, 90)), beginning), (bytes) =>
        check("x.json", bytes),
      ),
      { ...bounded, numRuns: 150 },
    );
  });

  it("is an adapter of finite numbers, or refused with a code: zip archives with adapter_model.bin", async () => {
    const packed = (bin: Buffer) =>
      zipball([
        { path: "a/adapter_config.json", body: JSON.stringify(config) },
        { path: "a/adapter_model.bin", body: bin, isStored: true },
      ]);
    const whole = packed(pytorchFile(tensors));
    writeFileSync(join(folder, "whole.zip"), whole);
    expect((await openAdapter(join(folder, "whole.zip"), smallModel)).modules).toHaveLength(1);
    const bytes = fc.oneof(damaged(whole), damaged(pytorchFile(tensors)).map(packed));
    await fc.assert(
      fc.asyncProperty(bytes, (some) => check("x.zip", some)),
      bounded,
    );
    await check("empty.zip", packed(zip([{ name: "a/data.pkl", data: pickle(dictCode([])) }])));
  });
});

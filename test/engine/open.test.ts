import { describe, expect, it } from "vitest";
import { openEngine } from "../../src/engine/open.ts";

describe("openEngine", () => {
  it("opens the native engine unless told otherwise, and says what was chosen", async () => {
    const engine = await openEngine({ LLAMA_THREADS: "1", LLAMA_ISA: "reference", LLAMA_DEVICE: "cpu" });
    expect(engine.name).toBe("native");
    expect(engine.description).toBe("cpu (reference, 1 thread)");
    // Why not a GPU, where there is none.
    expect((await openEngine({})).description).toMatch(/^(cpu \(\w+, \d+ threads?; no GPU: .+\)|cuda \(.+\))$/);
  });

  it("opens the TensorFlow engine when asked for", async () => {
    expect((await openEngine({ LLAMA_ENGINE: "tensorflow", LLAMA_TF_BACKEND: "cpu" })).name).toBe("tensorflow");
  });

  it("refuses for the TensorFlow engine what only the native one can do, by name", async () => {
    for (const [name, value] of Object.entries({
      LLAMA_QUANTIZATION: "int8",
      LLAMA_DTYPE: "bfloat16",
      LLAMA_CHECKPOINTED_LAYERS: "2",
      LLAMA_THREADS: "2",
      LLAMA_ISA: "avx2",
      LLAMA_GPU: "0",
    })) {
      await expect(openEngine({ LLAMA_ENGINE: "tensorflow", [name]: value })).rejects.toMatchObject({
        code: "ENGINE_ARGUMENT",
        message: `${name} is "${value}", which is a setting of the native engine; this is the TensorFlow engine`,
      });
    }
    await expect(
      openEngine({ LLAMA_ENGINE: "tensorflow", LLAMA_DEVICE: "cuda", LLAMA_TF_BACKEND: "wasm" }),
    ).rejects.toMatchObject({ code: "ENGINE_ARGUMENT", message: expect.stringContaining("LLAMA_TF_BACKEND") });
  });

  it("refuses a value that means nothing whichever engine is taken", async () => {
    for (const engine of ["native", "tensorflow"]) {
      for (const [name, code] of Object.entries({
        LLAMA_DEVICE: "ENGINE_UNAVAILABLE",
        LLAMA_TF_BACKEND: "ENGINE_UNAVAILABLE",
        LLAMA_QUANTIZATION: "ENGINE_ARGUMENT",
        LLAMA_DTYPE: "ENGINE_ARGUMENT",
        LLAMA_CACHE_BYTES: "ENGINE_ARGUMENT",
        LLAMA_CHECKPOINTED_LAYERS: "ENGINE_ARGUMENT",
        LLAMA_THREADS: "ENGINE_ARGUMENT",
        LLAMA_GPU: "ENGINE_ARGUMENT",
      })) {
        await expect(openEngine({ LLAMA_ENGINE: engine, [name]: "gpu" })).rejects.toMatchObject({
          code,
          message: expect.stringContaining(`${name} is "gpu", allowed are`),
        });
      }
    }
  });

  it("refuses engines, devices and settings that are not possible, naming what is", async () => {
    const refusals: [NodeJS.ProcessEnv, string, string][] = [
      [{ LLAMA_ENGINE: "torch" }, "ENGINE_UNAVAILABLE", "native, tensorflow"],
      [{ LLAMA_DEVICE: "tpu" }, "ENGINE_UNAVAILABLE", "auto, cpu, cuda"],
      [{ LLAMA_DEVICE: "cuda", LLAMA_GPU_MODULE: "no-such-module.so" }, "ENGINE_UNAVAILABLE", "no-such-module.so"],
      [{ LLAMA_CHECKPOINTED_LAYERS: "-1" }, "ENGINE_ARGUMENT", "LLAMA_CHECKPOINTED_LAYERS"],
      [{ LLAMA_ISA: "mmx" }, "ENGINE_ARGUMENT", "reference"],
      [{ LLAMA_THREADS: "0" }, "ENGINE_ARGUMENT", "1 to 1024"],
    ];
    for (const [env, code, text] of refusals) {
      await expect(openEngine(env)).rejects.toMatchObject({ code, message: expect.stringContaining(text) });
    }
  });
});

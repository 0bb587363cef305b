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

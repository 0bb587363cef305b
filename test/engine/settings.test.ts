import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { Addon, GpuCard } from "../../src/engine/native/addon.ts";
import { chooseDevice } from "../../src/engine/native/settings.ts";

const folder = mkdtempSync(join(tmpdir(), "llama-settings-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const gpuModule = join(folder, "llama_cuda.so");
writeFileSync(gpuModule, "");
const cards: GpuCard[] = [
  { index: 0, name: "Card A", capability: 89, memory: 25_300_000_000, available: 25e9 },
  { index: 2, name: "Card B", capability: 75, memory: 15_800_000_000, available: 15e9 },
];

/** Asked for the GPUs of any module but `gpuModule` it fails. */
const machine = (found: readonly GpuCard[], problem: string | null = null): Addon => ({
  instructionSets: () => ["avx2", "reference"],
  gpus: (file) => {
    if (file !== gpuModule) throw new Error(`${file} is not asked for`);
    return { cards: found, problem };
  },
  load: () => Promise.reject(new Error("nothing is loaded")),
});

const choose = (
  env: NodeJS.ProcessEnv,
  found: readonly GpuCard[] = cards,
  problem: string | null = null,
  localRank?: number,
) => chooseDevice({ LLAMA_GPU_MODULE: gpuModule, ...env }, machine(found, problem), localRank);

const meaningless: readonly [NodeJS.ProcessEnv, string][] = [
  [{ LLAMA_GPU: "first" }, 'LLAMA_GPU is "first", allowed are 0 to 1023'],
  [{ LLAMA_DTYPE: "fp8" }, 'LLAMA_DTYPE is "fp8", allowed are auto, float32, bfloat16, float16'],
  [{ LLAMA_QUANTIZATION: "int3" }, 'LLAMA_QUANTIZATION is "int3", allowed are auto, none, int8, int4, nf4'],
  [{ LLAMA_CACHE_BYTES: "4G" }, 'LLAMA_CACHE_BYTES is "4G", allowed are 0 to 9007199254740991'],
];

describe("chooseDevice", () => {
  it("stays on the CPU where LLAMA_DEVICE says so, without asking for GPUs", () => {
    const { options, description } = choose({ LLAMA_DEVICE: "cpu", LLAMA_GPU_MODULE: "other.so", LLAMA_THREADS: "3" });
    expect(options).toEqual({
      isa: "avx2",
      threads: 3,
      checkpointedLayers: -1,
      cacheBytes: 0,
      gpuModule: "",
      gpu: null,
    });
    expect(description).toBe("cpu (avx2, 3 threads)");
    expect(choose({ LLAMA_DEVICE: "cpu", LLAMA_THREADS: "1" }).description).toBe("cpu (avx2, 1 thread)");
  });

  it("takes all cores but one and the best instruction set unless told otherwise", () => {
    for (const value of [undefined, "", "auto"]) {
      const { options } = choose({ LLAMA_DEVICE: "cpu", LLAMA_THREADS: value, LLAMA_ISA: value });
      expect(options).toMatchObject({ isa: "avx2", threads: Math.max(1, availableParallelism() - 1) });
    }
    expect(choose({ LLAMA_DEVICE: "cpu", LLAMA_ISA: "reference" }).options.isa).toBe("reference");
  });

  it("takes a GPU where there is one, and names it with its memory", () => {
    for (const device of [undefined, "", "auto", "cuda"]) {
      const { options, description } = choose({ LLAMA_DEVICE: device });
      expect(options).toMatchObject({
        gpuModule,
        gpu: { card: 0, dtype: "", quantization: "none" },
        checkpointedLayers: -1,
        cacheBytes: 0,
      });
      expect(description).toBe("cuda (Card A, 25 GB)");
    }
  });

  it("hands the GPU's settings on", () => {
    const { options, description } = choose({
      LLAMA_DTYPE: "float16",
      LLAMA_QUANTIZATION: "nf4",
      LLAMA_CACHE_BYTES: "4000000000",
      LLAMA_CHECKPOINTED_LAYERS: "12",
    });
    expect(options.gpu).toEqual({ card: 0, dtype: "float16", quantization: "nf4" });
    expect(options.cacheBytes).toBe(4_000_000_000);
    expect(choose({ LLAMA_DEVICE: "cpu", LLAMA_CACHE_BYTES: "4096" }).options.cacheBytes).toBe(4096);
    expect(options.checkpointedLayers).toBe(12);
    expect(description).toBe("cuda (Card A, 25 GB, float16, nf4)");
    const defaults = {
      LLAMA_DTYPE: "auto",
      LLAMA_QUANTIZATION: "",
      LLAMA_CACHE_BYTES: "",
      LLAMA_CHECKPOINTED_LAYERS: "auto",
    };
    expect(choose(defaults)).toEqual(choose({}));
  });

  it("takes the card of LLAMA_GPU, else the local rank's, else the first", () => {
    const cardOf = (env: NodeJS.ProcessEnv, localRank?: number) =>
      choose(env, undefined, undefined, localRank).options.gpu?.card;
    expect(cardOf({})).toBe(0);
    expect(cardOf({ LLAMA_GPU: "1" })).toBe(2);
    expect(cardOf({ LLAMA_GPU: "0" }, 1)).toBe(0);
    expect(cardOf({}, 1)).toBe(2);
    // More ranks than cards share the first.
    expect(cardOf({}, 2)).toBe(0);
    // What a launcher's variables say is read in one place, which a prediction does not need.
    expect(cardOf({ LOCAL_RANK: "1" })).toBe(0);
  });

  it("falls back to the CPU saying why, and stops with the same reason where LLAMA_DEVICE=cuda", () => {
    for (const problem of ["no NVIDIA driver found", "driver 550 found, 580 needed"]) {
      const { options, description } = choose({ LLAMA_THREADS: "2" }, [], problem);
      expect(options).toMatchObject({ gpuModule: "", gpu: null });
      expect(description).toBe(`cpu (avx2, 2 threads; no GPU: ${problem})`);
      expect(() => choose({ LLAMA_DEVICE: "cuda" }, [], problem)).toThrow(
        expect.objectContaining({
          code: "ENGINE_UNAVAILABLE",
          message: expect.stringContaining(`LLAMA_DEVICE is "cuda", but no GPU: ${problem}`),
          hint: expect.stringContaining("LLAMA_DEVICE=cpu"),
        }),
      );
    }
  });

  it("refuses a value that means nothing whatever the device, by name", () => {
    for (const [env, message] of meaningless) {
      const refused = expect.objectContaining({ code: "ENGINE_ARGUMENT", message: expect.stringContaining(message) });
      expect(() => choose({ ...env, LLAMA_DEVICE: "cpu" })).toThrow(refused);
      expect(() => choose(env, [], "no NVIDIA driver found")).toThrow(refused);
    }
    for (const device of ["gpu", "tpu", "CPU", "cuda:0"]) {
      expect(() => choose({ LLAMA_DEVICE: device })).toThrow(
        expect.objectContaining({
          code: "ENGINE_UNAVAILABLE",
          message: `LLAMA_DEVICE is "${device}", allowed are auto, cpu, cuda`,
        }),
      );
    }
  });

  it("refuses on the CPU what only a GPU can do, by name and with the reason why it is the CPU", () => {
    const problem = "no NVIDIA driver found";
    for (const [name, value] of [
      ["LLAMA_QUANTIZATION", "nf4"],
      ["LLAMA_QUANTIZATION", "int8"],
      ["LLAMA_DTYPE", "bfloat16"],
      ["LLAMA_DTYPE", "float16"],
      ["LLAMA_GPU", "0"],
    ] as const) {
      const refused = (reason: string) =>
        expect.objectContaining({
          code: "ENGINE_ARGUMENT",
          message: `${name} is "${value}", which needs a GPU; this is the CPU${reason}`,
          hint: `unset ${name}`,
        });
      expect(() => choose({ LLAMA_DEVICE: "cpu", [name]: value })).toThrow(refused(""));
      expect(() => choose({ [name]: value }, [], problem)).toThrow(refused(`; no GPU: ${problem}`));
    }
    // What the CPU does anyway, and the memory for keys and values that it has as well.
    const done = { LLAMA_QUANTIZATION: "none", LLAMA_DTYPE: "float32", LLAMA_CACHE_BYTES: "1000000" };
    expect(choose({ LLAMA_DEVICE: "cpu", ...done }).options.gpu).toBeNull();
    expect(choose(done, [], problem).options.gpu).toBeNull();
  });

  it("refuses a GPU module that is not there instead of taking the CPU", () => {
    const missing = join(folder, "no-such-module.so");
    expect(() => choose({ LLAMA_GPU_MODULE: missing })).toThrow(
      expect.objectContaining({ code: "ENGINE_UNAVAILABLE", message: expect.stringContaining(missing) }),
    );
  });

  it("refuses values that are not possible, naming the variable, the value and what is allowed", () => {
    const refusals: [NodeJS.ProcessEnv, string][] = [
      [{ LLAMA_THREADS: "0" }, 'LLAMA_THREADS is "0", allowed are 1 to 1024'],
      [{ LLAMA_THREADS: "2.5" }, 'LLAMA_THREADS is "2.5", allowed are 1 to 1024'],
      [{ LLAMA_THREADS: "many" }, 'LLAMA_THREADS is "many", allowed are 1 to 1024'],
      [{ LLAMA_CHECKPOINTED_LAYERS: "-1" }, 'LLAMA_CHECKPOINTED_LAYERS is "-1", allowed are 0 to 100000'],
      [{ LLAMA_ISA: "avx512" }, 'LLAMA_ISA is "avx512", this processor can run avx2, reference'],
      [{ LLAMA_GPU: "2" }, 'LLAMA_GPU is "2", usable are 0 to 1'],
      [{ LLAMA_CACHE_BYTES: "1e9" }, 'LLAMA_CACHE_BYTES is "1e9", allowed are 0 to 9007199254740991'],
      ...meaningless,
    ];
    for (const [env, message] of refusals) {
      expect(() => choose(env)).toThrow(
        expect.objectContaining({ code: "ENGINE_ARGUMENT", message: expect.stringContaining(message) }),
      );
    }
  });
});

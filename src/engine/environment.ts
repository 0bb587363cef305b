import { CodedError, type ErrorCode } from "../errors/index.ts";

/** What the engine's variables ask for; null where one is unset, empty or "auto". */
export interface EngineSettings {
  readonly engine: "native" | "tensorflow" | null;
  readonly device: "cpu" | "cuda" | null;
  readonly gpu: number | null;
  readonly dtype: "float32" | "bfloat16" | "float16" | null;
  readonly quantization: "none" | "int8" | "int4" | "nf4" | null;
  /** Bytes. */
  readonly cacheBytes: number | null;
  readonly checkpointedLayers: number | null;
  readonly threads: number | null;
  /** Not checked here: which ones there are is the processor's to say. */
  readonly isa: string | null;
  readonly tensorflowBackend: "node" | "wasm" | "cpu" | null;
}

/** The variable of each setting. */
const variables = {
  engine: "LLAMA_ENGINE",
  device: "LLAMA_DEVICE",
  gpu: "LLAMA_GPU",
  dtype: "LLAMA_DTYPE",
  quantization: "LLAMA_QUANTIZATION",
  cacheBytes: "LLAMA_CACHE_BYTES",
  checkpointedLayers: "LLAMA_CHECKPOINTED_LAYERS",
  threads: "LLAMA_THREADS",
  isa: "LLAMA_ISA",
  tensorflowBackend: "LLAMA_TF_BACKEND",
} as const satisfies Record<keyof EngineSettings, string>;

/**
 * Reads every variable, whichever engine and device they lead to, so that a value that means nothing is never passed over.
 * @throws ENGINE_UNAVAILABLE for an unknown engine, device or backend, ENGINE_ARGUMENT for any other value that is not
 *   possible; the message names the variable, the value and what is allowed
 */
export function readEngineSettings(env: NodeJS.ProcessEnv): EngineSettings {
  const choice = <T extends string>(field: keyof EngineSettings, choices: readonly T[], code?: ErrorCode): T | null => {
    const text = textOf(env, field);
    if (text === null || choices.includes(text as T)) return text as T | null;
    return refuse(field, text, `allowed are auto, ${choices.join(", ")}`, code);
  };
  const integer = (field: keyof EngineSettings, least: number, most: number): number | null => {
    const text = textOf(env, field);
    if (text === null) return null;
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (value >= least && value <= most) return value;
    return refuse(field, text, `allowed are ${least} to ${most}`);
  };
  return {
    engine: choice("engine", ["native", "tensorflow"], "ENGINE_UNAVAILABLE"),
    device: choice("device", ["cpu", "cuda"], "ENGINE_UNAVAILABLE"),
    gpu: integer("gpu", 0, 1023),
    dtype: choice("dtype", ["float32", "bfloat16", "float16"]),
    quantization: choice("quantization", ["none", "int8", "int4", "nf4"]),
    cacheBytes: integer("cacheBytes", 0, Number.MAX_SAFE_INTEGER),
    checkpointedLayers: integer("checkpointedLayers", 0, 100_000),
    threads: integer("threads", 1, 1024),
    isa: textOf(env, "isa"),
    tensorflowBackend: choice("tensorflowBackend", ["node", "wasm", "cpu"], "ENGINE_UNAVAILABLE"),
  };
}

/** What only the native engine can follow. */
export const nativeFields = [
  "gpu",
  "dtype",
  "quantization",
  "checkpointedLayers",
  "threads",
  "isa",
] as const satisfies readonly (keyof EngineSettings)[];

/** What runs in float32 without quantisation does whatever it is told to. */
const alwaysDone: Partial<EngineSettings> = { dtype: "float32", quantization: "none" };

/** @throws ENGINE_ARGUMENT for the first of `fields` that is set to something which `where` does not have */
export function refuseSettings(
  settings: EngineSettings,
  fields: readonly (keyof EngineSettings)[],
  where: string,
): void {
  for (const field of fields) {
    const value = settings[field];
    if (value !== null && value !== alwaysDone[field]) refuse(field, String(value), `which ${where}`);
  }
}

/** @throws ENGINE_ARGUMENT, or `code`, naming the setting's variable */
export function refuse(
  field: keyof EngineSettings,
  value: string,
  why: string,
  code: ErrorCode = "ENGINE_ARGUMENT",
): never {
  throw new CodedError(code, `${variables[field]} is "${value}", ${why}`, { hint: `unset ${variables[field]}` });
}

function textOf(env: NodeJS.ProcessEnv, field: keyof EngineSettings): string | null {
  const text = env[variables[field]];
  return text === undefined || text === "" || text === "auto" ? null : text;
}

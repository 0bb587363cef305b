import { isCodedError } from "../errors/index.ts";
import type { Engine } from "./engine.ts";
import { nativeFields, readEngineSettings } from "./environment.ts";
import { openNativeEngine } from "./native/index.ts";

/**
 * The engine that LLAMA_ENGINE (native, tensorflow; default native) and LLAMA_DEVICE (auto, cpu, cuda; default auto) ask
 * for; of several GPUs the local rank's, where LLAMA_GPU names none. Without a choice, a native engine that cannot be loaded is replaced by the TensorFlow one, unless a setting asks for
 * what only the native one can do; the description says so.
 * Throws CodedError ENGINE_UNAVAILABLE, and ENGINE_ARGUMENT for a setting of the engine that is not possible.
 */
export async function openEngine(env: NodeJS.ProcessEnv = process.env, { localRank = 0 } = {}): Promise<Engine> {
  const settings = readEngineSettings(env);
  if (settings.engine === "tensorflow") return openTensorflow(env);
  try {
    return await openNativeEngine(env, localRank);
  } catch (error) {
    const unavailable = isCodedError(error) && error.code === "ENGINE_UNAVAILABLE";
    const replaceable = settings.engine === null && settings.device !== "cuda";
    if (!unavailable || !replaceable || nativeFields.some((field) => settings[field] !== null)) throw error;
    const other = await openTensorflow(env).catch(() => null);
    // Where there is none either, what helps is said of the engine that is meant to run.
    if (other === null) throw error;
    const reason = [error.message, error.hint].filter(Boolean).join("; ");
    console.warn(`${other.description} runs in place of the native engine, many times slower: ${reason}`);
    return withWarning(other, reason);
  }
}

/** Loaded only when asked for: TensorFlow.js takes a good second to start. */
async function openTensorflow(env: NodeJS.ProcessEnv): Promise<Engine> {
  const { openTensorflowEngine } = await import("./tensorflow/index.ts");
  return openTensorflowEngine(env);
}

function withWarning(engine: Engine, warning: string): Engine {
  return {
    name: engine.name,
    description: `${engine.description} (warning: ${warning})`,
    load: (weights, options) => engine.load(weights, options),
  };
}

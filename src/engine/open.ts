import { isCodedError } from "../errors/index.ts";
import type { Engine } from "./engine.ts";
import { nativeFields, readEngineSettings } from "./environment.ts";
import { openNativeEngine } from "./native/index.ts";

/**
 * The engine that LLAMA_ENGINE (native, tensorflow; default native) and LLAMA_DEVICE (auto, cpu, cuda; default auto) ask
 * for. Without a choice, a native engine that cannot be loaded is replaced by the TensorFlow one, unless a setting asks for
 * what only the native one can do; the description says so.
 * Throws CodedError ENGINE_UNAVAILABLE, and ENGINE_ARGUMENT for a setting of the engine that is not possible.
 */
export async function openEngine(env: NodeJS.ProcessEnv = process.env): Promise<Engine> {
  const settings = readEngineSettings(env);
  if (settings.engine === "tensorflow") return openTensorflow(env);
  try {
    return await openNativeEngine(env);
  } catch (error) {
    const unavailable = isCodedError(error) && error.code === "ENGINE_UNAVAILABLE";
    const replaceable = settings.engine === null && settings.device !== "cuda";
    if (!unavailable || !replaceable || nativeFields.some((field) => settings[field] !== null)) throw error;
    return withWarning(await openTensorflow(env), `${error.message}; ${error.hint ?? ""}`);
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

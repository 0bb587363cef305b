import { CodedError } from "../../errors/index.ts";
import type { Engine } from "../engine.ts";
import { nativeFields, readEngineSettings, refuse, refuseSettings } from "../environment.ts";
import { openBackend } from "./backend.ts";
import { TensorflowModel } from "./model.ts";
import { loadTensors } from "./weights.ts";

/**
 * The second engine: any TensorFlow.js backend, float32, gradients by automatic differentiation. LLAMA_DEVICE=cuda asks
 * for @tensorflow/tfjs-node-gpu and nothing else.
 * @throws ENGINE_UNAVAILABLE, and ENGINE_ARGUMENT for a setting that only the native engine can follow
 */
export async function openTensorflowEngine(env: NodeJS.ProcessEnv = process.env): Promise<Engine> {
  const settings = readEngineSettings(env);
  const { device, tensorflowBackend } = settings;
  refuseSettings(settings, nativeFields, "is a setting of the native engine; this is the TensorFlow engine");
  if (device === "cuda" && tensorflowBackend !== null && tensorflowBackend !== "node") {
    refuse("tensorflowBackend", tensorflowBackend, 'but LLAMA_DEVICE is "cuda", which only node can use');
  }
  const { tf, name } = await openBackend(device === "cuda" ? { ...env, LLAMA_TF_BACKEND: "node" } : env);
  const onGpu = (tf.backend() as unknown as { isUsingGpuDevice?: boolean }).isUsingGpuDevice === true;
  if (device === "cuda" && !onGpu) {
    throw new CodedError("ENGINE_UNAVAILABLE", "TensorFlow finds no CUDA device", { hint: "Set LLAMA_DEVICE=auto." });
  }
  if (device === "cpu" && onGpu) {
    throw new CodedError(
      "ENGINE_UNAVAILABLE",
      'LLAMA_DEVICE is "cpu", but TensorFlow\'s node backend runs on the GPU',
      {
        hint: "Set LLAMA_TF_BACKEND=wasm.",
      },
    );
  }
  return {
    name: "tensorflow",
    description: `tensorflow.js ${tf.version_core} (${name} backend)`,
    load: async (weights, options) =>
      new TensorflowModel(tf, weights.config, await loadTensors(tf, weights, options), settings.cacheBytes ?? 0),
  };
}

import { CodedError } from "../../errors/index.ts";
import type { Engine } from "../engine.ts";
import { readCacheBytes } from "../environment.ts";
import { openBackend } from "./backend.ts";
import { TensorflowModel } from "./model.ts";
import { loadTensors } from "./weights.ts";

/**
 * The second engine: any TensorFlow.js backend, float32, gradients by automatic differentiation. LLAMA_DEVICE=cuda asks
 * for @tensorflow/tfjs-node-gpu and nothing else.
 * @throws ENGINE_UNAVAILABLE, ENGINE_ARGUMENT
 */
export async function openTensorflowEngine(env: NodeJS.ProcessEnv = process.env): Promise<Engine> {
  const cacheBytes = readCacheBytes(env);
  const device = env.LLAMA_DEVICE ?? "auto";
  const backend = await openBackend(device === "cuda" ? { ...env, LLAMA_TF_BACKEND: "node" } : env);
  const { tf, name } = backend;
  if (device === "cuda" && !(tf.backend() as unknown as { isUsingGpuDevice?: boolean }).isUsingGpuDevice) {
    throw new CodedError("ENGINE_UNAVAILABLE", "TensorFlow finds no CUDA device", { hint: "Set LLAMA_DEVICE=auto." });
  }
  return {
    name: "tensorflow",
    description: `tensorflow.js ${tf.version_core} (${name} backend)`,
    load: async (weights, options) =>
      new TensorflowModel(tf, weights.config, await loadTensors(tf, weights, options), cacheBytes),
  };
}

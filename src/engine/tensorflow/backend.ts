import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import util from "node:util";
import * as tf from "@tensorflow/tfjs-core";
import { CodedError } from "../../errors/index.ts";
import { readEngineSettings } from "../environment.ts";
import { registerSegmentSum } from "./wasm-segment-sum.ts";

/** TensorFlow.js operations on the chosen backend. tfjs-node brings its own copy of tfjs-core; this is the one to use. */
export type TensorFlow = typeof tf;

export interface Backend {
  readonly tf: TensorFlow;
  readonly name: "tensorflow" | "wasm" | "cpu";
}

/**
 * The best TensorFlow.js backend of this machine: @tensorflow/tfjs-node-gpu when it is installed and loads, else wasm,
 * else plain JavaScript. LLAMA_TF_BACKEND=node|wasm|cpu asks for one; LLAMA_TF_MODULE names the folder of a
 * tfjs-node-gpu package to load.
 * @throws ENGINE_UNAVAILABLE when the backend asked for does not load.
 */
export async function openBackend(env: NodeJS.ProcessEnv = process.env): Promise<Backend> {
  const asked = readEngineSettings(env).tensorflowBackend;
  const reasons: string[] = [];
  for (const [name, open] of [
    ["node", openNode],
    ["wasm", openWasm],
    ["cpu", openCpu],
  ] as const) {
    if (asked !== null && asked !== name) continue;
    try {
      return await open(env);
    } catch (error) {
      reasons.push(`${name}: ${(error as Error).message.split("\n")[0]}`);
    }
  }
  throw new CodedError("ENGINE_UNAVAILABLE", `no TensorFlow.js backend loads (${reasons.join("; ")})`, {
    hint: "Leave LLAMA_TF_BACKEND unset to take the one that does.",
  });
}

async function openNode(env: NodeJS.ProcessEnv): Promise<Backend> {
  // The package calls two functions that Node removed in version 23.
  const legacy = util as unknown as Record<string, unknown>;
  legacy.isNullOrUndefined ??= (value: unknown) => value === null || value === undefined;
  legacy.isArray ??= Array.isArray;

  const folder = env.LLAMA_TF_MODULE;
  const require = createRequire(import.meta.url);
  const entry = folder ? require.resolve(resolve(folder)) : require.resolve("@tensorflow/tfjs-node-gpu");
  const loaded = (await import(pathToFileURL(entry).href)) as { default: TensorFlow };
  return { tf: loaded.default, name: "tensorflow" };
}

/** tfjs-core's own build holds no gradients; this package registers them all. */
async function registerGradients(): Promise<void> {
  await import("@tensorflow/tfjs");
  // Leaves out the advice to install another backend: the choice was made here.
  tf.enableProdMode();
}

async function openWasm(): Promise<Backend> {
  await registerGradients();
  const { setWasmPaths } = await import("@tensorflow/tfjs-backend-wasm");
  const entry = createRequire(import.meta.url).resolve("@tensorflow/tfjs-backend-wasm");
  setWasmPaths(join(dirname(entry), "/"));
  registerSegmentSum(tf);
  if (!(await tf.setBackend("wasm"))) throw new Error("the WebAssembly backend did not start");
  await tf.ready();
  return { tf, name: "wasm" };
}

async function openCpu(): Promise<Backend> {
  await registerGradients();
  await import("@tensorflow/tfjs-backend-cpu");
  await tf.setBackend("cpu");
  await tf.ready();
  return { tf, name: "cpu" };
}

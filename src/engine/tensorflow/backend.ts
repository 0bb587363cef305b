import { dirname, join, resolve } from "node:path";
import util from "node:util";
import { CodedError } from "../../errors/index.ts";
import { readEngineSettings } from "../environment.ts";
import { requireFromWhereAll } from "./packages.ts";
import { registerSegmentSum } from "./wasm-segment-sum.ts";

/** TensorFlow.js operations on the chosen backend. tfjs-node brings its own copy of tfjs-core; this is the one to use. */
export type TensorFlow = typeof import("@tensorflow/tfjs-core");

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
    hint: asked === "node" ? nodeHint : portableHint,
  });
}

const nodeHint =
  "In this package's folder type npm run tensorflow:install, or where its download is refused npm run tensorflow:build; " +
  "or leave LLAMA_TF_BACKEND unset to take a backend that does.";
const portableHint =
  "In this package's folder type npm run tensorflow:install; in a project of your own " +
  "npm install @tensorflow/tfjs@4.22.0 @tensorflow/tfjs-backend-wasm@4.22.0.";

async function openNode(env: NodeJS.ProcessEnv): Promise<Backend> {
  // The package calls two functions that Node removed in version 23.
  const legacy = util as unknown as Record<string, unknown>;
  legacy.isNullOrUndefined ??= (value: unknown) => value === null || value === undefined;
  legacy.isArray ??= Array.isArray;

  const name = env.LLAMA_TF_MODULE ? resolve(env.LLAMA_TF_MODULE) : "@tensorflow/tfjs-node-gpu";
  return { tf: requireFromWhereAll(name)(name) as TensorFlow, name: "tensorflow" };
}

async function openWasm(): Promise<Backend> {
  const require = requireFromWhereAll("@tensorflow/tfjs", "@tensorflow/tfjs-backend-wasm");
  const tf = portable(require);
  const { setWasmPaths } = require("@tensorflow/tfjs-backend-wasm") as typeof import("@tensorflow/tfjs-backend-wasm");
  setWasmPaths(join(dirname(require.resolve("@tensorflow/tfjs-backend-wasm")), "/"));
  registerSegmentSum(tf);
  if (!(await tf.setBackend("wasm"))) throw new Error("the WebAssembly backend did not start");
  await tf.ready();
  return { tf, name: "wasm" };
}

async function openCpu(): Promise<Backend> {
  const tf = portable(requireFromWhereAll("@tensorflow/tfjs"));
  await tf.setBackend("cpu");
  await tf.ready();
  return { tf, name: "cpu" };
}

/** The whole of TensorFlow.js: tfjs-core alone holds no gradients. */
function portable(require: NodeJS.Require): TensorFlow {
  const tf = require("@tensorflow/tfjs") as TensorFlow;
  // Leaves out the advice to install another backend: the choice was made here.
  tf.enableProdMode();
  return tf;
}

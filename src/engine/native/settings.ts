import { availableParallelism } from "node:os";
import { CodedError } from "../../errors/index.ts";
import { readCacheBytes, readInteger } from "../environment.ts";
import { type Addon, findBuilt, type GpuCard, type GpuOptions } from "./addon.ts";

export interface NativeOptions {
  /** "auto" or one of the addon's instruction sets. */
  readonly isa: string;
  readonly threads: number;
  readonly checkpointedLayers: number;
  readonly cacheBytes: number;
  readonly gpuModule: string;
  readonly gpu: GpuOptions | null;
}

/** What the native engine will run on, and how to say so. */
export interface NativeChoice {
  readonly options: NativeOptions;
  readonly description: string;
}

const dtypes = ["float32", "bfloat16", "float16"];
const quantizations = ["none", "int8", "int4", "nf4"];

/**
 * Reads LLAMA_DEVICE and the settings of the device that it leads to. `auto` takes a GPU where the GPU module finds one.
 * @throws ENGINE_UNAVAILABLE where LLAMA_DEVICE=cuda asks for a GPU that is not there, ENGINE_ARGUMENT for a value that is
 *   not possible here
 */
export function chooseDevice(env: NodeJS.ProcessEnv, addon: Addon): NativeChoice {
  const isa = readIsa(env, addon);
  const threads = readInteger(env, "LLAMA_THREADS", 1, 1024) ?? Math.max(1, availableParallelism() - 1);
  const checkpointedLayers = readInteger(env, "LLAMA_CHECKPOINTED_LAYERS", 0, 100_000) ?? -1;
  const onCpu = { isa, threads, checkpointedLayers, cacheBytes: readCacheBytes(env), gpuModule: "", gpu: null };
  const cpu = `cpu (${isa}, ${threads} thread${threads === 1 ? "" : "s"}`;
  const device = env.LLAMA_DEVICE || "auto";
  if (device === "cpu") return { options: onCpu, description: `${cpu})` };

  const found = findCard(env, addon);
  if (typeof found === "string") {
    if (device === "cuda") {
      throw new CodedError("ENGINE_UNAVAILABLE", `LLAMA_DEVICE is "cuda", but ${found}`, {
        hint: "set LLAMA_DEVICE=cpu, or see docs/gpu.md",
      });
    }
    return { options: onCpu, description: `${cpu}; ${found})` };
  }
  const { card, gpuModule } = found;
  const gpu = {
    card: card.index,
    dtype: readChoice(env, "LLAMA_DTYPE", dtypes) ?? "",
    quantization: readChoice(env, "LLAMA_QUANTIZATION", quantizations) ?? "none",
  };
  const kinds = [gpu.dtype, gpu.quantization === "none" ? "" : gpu.quantization].filter((kind) => kind !== "");
  const memory = `${Math.round(card.memory / 1e9)} GB`;
  return {
    options: { ...onCpu, gpuModule, gpu },
    description: `cuda (${[card.name, memory, ...kinds].join(", ")})`,
  };
}

/** The card that LLAMA_GPU names (default: the launcher's local rank, else the first), or why there is none. */
function findCard(env: NodeJS.ProcessEnv, addon: Addon): { card: GpuCard; gpuModule: string } | string {
  const gpuModule = env.LLAMA_GPU_MODULE || findBuilt("llama_cuda.so");
  if (gpuModule === null) return "no GPU: the GPU module has not been built";
  const { cards, problem } = addon.gpus(gpuModule);
  if (cards.length === 0) return `no GPU: ${problem}`;
  const named = readInteger(env, "LLAMA_GPU", 0, 1023);
  const localRank = Number(env.LOCAL_RANK ?? env.OMPI_COMM_WORLD_LOCAL_RANK ?? env.SLURM_LOCALID ?? 0);
  const card = cards[named ?? (localRank < cards.length ? localRank : 0)];
  if (card) return { card, gpuModule };
  throw new CodedError("ENGINE_ARGUMENT", `LLAMA_GPU is ${named}, usable are 0 to ${cards.length - 1}`);
}

function readChoice(env: NodeJS.ProcessEnv, name: string, choices: readonly string[]): string | null {
  const text = env[name];
  if (text === undefined || text === "" || text === "auto") return null;
  if (choices.includes(text)) return text;
  throw new CodedError("ENGINE_ARGUMENT", `${name} is "${text}", allowed are ${choices.join(", ")}`);
}

function readIsa(env: NodeJS.ProcessEnv, addon: Addon): string {
  const usable = addon.instructionSets();
  const wanted = env.LLAMA_ISA || "auto";
  if (wanted === "auto") return usable[0]!;
  if (usable.includes(wanted)) return wanted;
  throw new CodedError("ENGINE_ARGUMENT", `LLAMA_ISA is "${wanted}", this processor can run ${usable.join(", ")}`);
}

import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { CodedError } from "../../errors/index.ts";
import { readEngineSettings, refuse, refuseSettings } from "../environment.ts";
import type { Addon, GpuCard, GpuOptions } from "./addon.ts";
import { findBuilt } from "./built.ts";

export interface NativeOptions {
  /** One of the addon's instruction sets. */
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

/**
 * Reads the engine's variables. `auto` takes a GPU where the GPU module finds one. A setting that only a GPU can follow is
 * refused on the CPU, and a value that means nothing everywhere.
 * @param localRank of a training, which has a card for each of a machine's ranks
 * @throws ENGINE_UNAVAILABLE where the wanted device or its module is not there, ENGINE_ARGUMENT for a value that is not
 *   possible here
 */
export function chooseDevice(env: NodeJS.ProcessEnv, addon: Addon, localRank = 0): NativeChoice {
  const settings = readEngineSettings(env);
  const isa = chooseIsa(settings.isa, addon);
  const threads = settings.threads ?? Math.max(1, availableParallelism() - 1);
  const { cacheBytes, checkpointedLayers } = settings;
  const common = { isa, threads, checkpointedLayers: checkpointedLayers ?? -1, cacheBytes: cacheBytes ?? 0 };

  const found = settings.device === "cpu" ? "" : findCard(env, settings.gpu, addon, localRank);
  if (typeof found === "string") {
    const reason = found === "" ? "" : `; ${found}`;
    if (settings.device === "cuda") {
      throw new CodedError("ENGINE_UNAVAILABLE", `LLAMA_DEVICE is "cuda", but ${found}`, {
        hint: "set LLAMA_DEVICE=cpu, or see docs/gpu.md",
      });
    }
    refuseSettings(settings, ["gpu", "dtype", "quantization"], `needs a GPU; this is the CPU${reason}`);
    return {
      options: { ...common, gpuModule: "", gpu: null },
      description: `cpu (${isa}, ${threads} thread${threads === 1 ? "" : "s"}${reason})`,
    };
  }
  const { card, gpuModule } = found;
  const gpu = {
    card: card.index,
    dtype: settings.dtype ?? "",
    quantization: settings.quantization ?? "none",
  };
  const kinds = [gpu.dtype, gpu.quantization === "none" ? "" : gpu.quantization].filter((kind) => kind !== "");
  const memory = `${Math.round(card.memory / 1e9)} GB`;
  return {
    options: { ...common, gpuModule, gpu },
    description: `cuda (${[card.name, memory, ...kinds].join(", ")})`,
  };
}

/** The card that `named` says (default: the local rank's; more ranks than cards share the first), or why there is none. */
function findCard(
  env: NodeJS.ProcessEnv,
  named: number | null,
  addon: Addon,
  localRank: number,
): { card: GpuCard; gpuModule: string } | string {
  if (env.LLAMA_GPU_MODULE && !existsSync(env.LLAMA_GPU_MODULE)) {
    throw new CodedError("ENGINE_UNAVAILABLE", `LLAMA_GPU_MODULE is "${env.LLAMA_GPU_MODULE}", which does not exist`);
  }
  const gpuModule = env.LLAMA_GPU_MODULE || findBuilt("llama_cuda.so");
  if (gpuModule === null) return "no GPU: the GPU module has not been built";
  const { cards, problem } = addon.gpus(gpuModule);
  if (cards.length === 0) return `no GPU: ${problem}`;
  const card = cards[named ?? (localRank < cards.length ? localRank : 0)];
  return card ? { card, gpuModule } : refuse("gpu", String(named), `usable are 0 to ${cards.length - 1}`);
}

function chooseIsa(wanted: string | null, addon: Addon): string {
  const usable = addon.instructionSets();
  if (wanted === null) return usable[0]!;
  return usable.includes(wanted) ? wanted : refuse("isa", wanted, `this processor can run ${usable.join(", ")}`);
}

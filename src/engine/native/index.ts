import { availableParallelism } from "node:os";
import { CodedError } from "../../errors/index.ts";
import type { Engine, EngineModel, LoadOptions, ModelWeights } from "../engine.ts";
import { type Addon, openAddon } from "./addon.ts";
import { settle } from "./failure.ts";
import { NativeModel } from "./model.ts";

export interface NativeOptions {
  /** "auto" or one of the addon's instruction sets. */
  readonly isa: string;
  readonly threads: number;
}

/**
 * The C++ engine on the CPU. Reads LLAMA_THREADS (default: all cores but one, at least one) and LLAMA_ISA (default: the
 * best that the processor has). Throws CodedError ENGINE_UNAVAILABLE when the addon is missing, ENGINE_ARGUMENT for a
 * value that is not possible here.
 */
export async function openNativeEngine(env: NodeJS.ProcessEnv): Promise<Engine> {
  const addon = openAddon();
  return new NativeEngine(addon, { isa: readIsa(env, addon), threads: readThreads(env) });
}

class NativeEngine implements Engine {
  readonly name = "native";
  readonly description: string;
  readonly #addon: Addon;
  readonly #options: NativeOptions;

  constructor(addon: Addon, options: NativeOptions) {
    this.#addon = addon;
    this.#options = options;
    this.description = `cpu (${options.isa}, ${options.threads} thread${options.threads === 1 ? "" : "s"})`;
  }

  async load({ config, tensors }: ModelWeights, options: LoadOptions = {}): Promise<EngineModel> {
    const { signal, onProgress } = options;
    signal?.throwIfAborted();
    const cancelled = new Int32Array(1);
    const cancel = () => {
      cancelled[0] = 1;
    };
    signal?.addEventListener("abort", cancel, { once: true });
    try {
      const list = Array.from(tensors, ([name, source]) => ({ name, ...source }));
      const addon = await settle(() =>
        this.#addon.load({ ...this.#options, config, tensors: list, cancelled }, onProgress),
      );
      if (signal?.aborted) await addon.close();
      signal?.throwIfAborted();
      return new NativeModel(addon, config);
    } catch (error) {
      signal?.throwIfAborted();
      throw error;
    } finally {
      signal?.removeEventListener("abort", cancel);
    }
  }
}

function readThreads(env: NodeJS.ProcessEnv): number {
  const text = env.LLAMA_THREADS;
  if (text === undefined || text === "") return Math.max(1, availableParallelism() - 1);
  const threads = Number(text);
  if (Number.isInteger(threads) && threads >= 1 && threads <= 1024) return threads;
  throw new CodedError("ENGINE_ARGUMENT", `LLAMA_THREADS is "${text}", allowed are 1 to 1024`);
}

function readIsa(env: NodeJS.ProcessEnv, addon: Addon): string {
  const usable = addon.instructionSets();
  const wanted = env.LLAMA_ISA || "auto";
  if (wanted === "auto") return usable[0]!;
  if (usable.includes(wanted)) return wanted;
  throw new CodedError("ENGINE_ARGUMENT", `LLAMA_ISA is "${wanted}", this processor can run ${usable.join(", ")}`);
}

import type { Engine, EngineModel, LoadOptions, ModelWeights } from "../engine.ts";
import { type Addon, openAddon } from "./addon.ts";
import { withCodes } from "./failure.ts";
import { NativeModel } from "./model.ts";
import { chooseDevice, type NativeOptions } from "./settings.ts";

/**
 * The C++ engine, on the CPU or a GPU. Reads LLAMA_DEVICE, LLAMA_THREADS (default: all cores but one, at least one),
 * LLAMA_ISA (default: the best that the processor has) and what docs/gpu.md lists. Throws CodedError ENGINE_UNAVAILABLE when
 * the addon or the wanted device is missing, ENGINE_ARGUMENT for a value that is not possible here.
 */
export async function openNativeEngine(env: NodeJS.ProcessEnv, localRank = 0): Promise<Engine> {
  const addon = await openAddon();
  const { options, description } = chooseDevice(env, addon, localRank);
  return new NativeEngine(addon, options, description);
}

class NativeEngine implements Engine {
  readonly name = "native";
  readonly description: string;
  readonly #addon: Addon;
  readonly #options: NativeOptions;

  constructor(addon: Addon, options: NativeOptions, description: string) {
    this.#addon = addon;
    this.#options = options;
    this.description = description;
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
      const addon = await withCodes(() =>
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

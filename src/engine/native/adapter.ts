import type { AdapterModule, EngineAdapter } from "../engine.ts";
import type { AddonAdapter } from "./addon.ts";
import { withCodes } from "./failure.ts";

/** What a module is, without its tensors. */
export type ModulePlace = Pick<AdapterModule, "layer" | "linear" | "rank" | "scale">;

export class NativeAdapter implements EngineAdapter {
  readonly addon: AddonAdapter;
  readonly #places: readonly ModulePlace[];

  constructor(addon: AddonAdapter, places: readonly ModulePlace[]) {
    this.addon = addon;
    this.#places = places;
  }

  async read(): Promise<AdapterModule[]> {
    const tensors = await withCodes(() => this.addon.read());
    return this.#places.map((place, i) => ({ ...place, ...tensors[i]! }));
  }

  async close(): Promise<void> {
    this.addon.close();
  }
}

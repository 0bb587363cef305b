import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { realpath, stat } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import type { EngineAdapter, EngineModel } from "../../engine/engine.ts";
import { openAdapter } from "../adapter/index.ts";

/** An adapter on the device, which stays there at least until it is released. */
export interface AdapterLease {
  readonly adapter: EngineAdapter;
  release(): void;
}

interface Entry {
  readonly loading: Promise<EngineAdapter>;
  users: number;
}

/** Adapters that nobody uses are kept up to this many, in case they are asked for again. */
const maxEntries = 10;

/** Adapters by what they hold, the least recently used given up first. Many requests with one adapter load it once. */
export class AdapterCache {
  readonly #model: EngineModel;
  /** The model's published name. */
  readonly #base: string | null;
  readonly #warn: (line: string) => void;
  /** In order of use. */
  readonly #entries = new Map<string, Entry>();

  constructor(model: EngineModel, base: string | null, warn: (line: string) => void) {
    this.#model = model;
    this.#base = base;
    this.#warn = warn;
  }

  /** @throws what openAdapter throws */
  async lease(source: string, name?: string): Promise<AdapterLease> {
    const key = await identity(source);
    const entry = this.#entries.get(key) ?? { loading: this.#load(source, name), users: 0 };
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    entry.users++;
    try {
      const adapter = await entry.loading;
      return { adapter, release: once(() => this.#release(entry)) };
    } catch (error) {
      entry.users--;
      if (this.#entries.get(key) === entry) this.#entries.delete(key);
      throw error;
    }
  }

  async #load(source: string, name: string | undefined): Promise<EngineAdapter> {
    const { modules, warnings } = await openAdapter(source, this.#model.config, { name, base: this.#base });
    for (const line of warnings) this.#warn(line);
    return this.#model.createAdapter(modules);
  }

  #release(entry: Entry): void {
    entry.users--;
    for (const [key, { users, loading }] of this.#entries) {
      if (this.#entries.size <= maxEntries) return;
      if (users > 0) continue;
      this.#entries.delete(key);
      loading.then((adapter) => adapter.close()).catch(() => {});
    }
  }
}

/** The same for the same adapter: a request's archive lies in another temporary file each time. */
async function identity(source: string): Promise<string> {
  const found = await stat(source).catch(() => null);
  if (found?.isFile()) {
    const hash = createHash("sha256");
    await pipeline(createReadStream(source), hash);
    return `sha256 ${hash.digest("hex")}`;
  }
  if (!found) return source;
  const folder = await realpath(source);
  const names = ["adapter_config.json", "adapter_model.safetensors"];
  const files = await Promise.all(names.map((name) => stat(join(folder, name)).catch(() => null)));
  return [folder, ...files.map((file) => `${file?.size} ${file?.mtimeMs}`)].join(" ");
}

function once(action: () => void): () => void {
  let done = false;
  return () => {
    if (!done) action();
    done = true;
  };
}

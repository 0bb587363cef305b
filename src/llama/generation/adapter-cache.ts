import type { EngineAdapter, EngineModel } from "../../engine/engine.ts";
import { AdapterReader, type AdapterSource, mostAdapterBytes, type ServedAdapter } from "../adapter/index.ts";
import type { TemplateRecord } from "../prompt/index.ts";

interface LoadedAdapter {
  readonly adapter: EngineAdapter;
  /** What it was trained with; null where it does not say. */
  readonly promptTemplate: TemplateRecord | null;
}

/** An adapter on the device, which stays there at least until it is released. */
export interface AdapterLease extends LoadedAdapter {
  release(): void;
}

interface Entry {
  readonly loading: Promise<LoadedAdapter>;
  /** Cancels the loading. */
  readonly controller: AbortController;
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
  readonly #reader = new AdapterReader();
  /** Of one adapter. */
  readonly #mostBytes: number;
  /** In order of use. */
  readonly #entries = new Map<string, Entry>();

  /** @throws ENGINE_ARGUMENT for a LLAMA_ADAPTER_BYTES that is no number of bytes */
  constructor(model: EngineModel, base: string | null, warn: (line: string) => void) {
    this.#model = model;
    this.#base = base;
    this.#warn = warn;
    this.#mostBytes = mostAdapterBytes(model.config);
  }

  /**
   * The weighted sum of some adapters, at least one.
   * @throws what openAdapter and weightedSum throw, and the signal's reason; the loading ends when all who wait for it have left
   */
  async lease(sources: readonly AdapterSource[], signal?: AbortSignal): Promise<AdapterLease> {
    return this.#lease(sources, (abort) => this.#read(sources, abort), signal);
  }

  /** An adapter that has been read. */
  async hold(source: AdapterSource, adapter: ServedAdapter): Promise<AdapterLease> {
    return this.#lease([source], () => this.#create(adapter));
  }

  async #lease(
    sources: readonly AdapterSource[],
    load: (signal: AbortSignal) => Promise<LoadedAdapter>,
    signal?: AbortSignal,
  ): Promise<AdapterLease> {
    const parts: string[] = [];
    for (const { path, weight } of sources) {
      parts.push(`${await this.#reader.identity(path, signal)} times ${weight}`);
    }
    const key = parts.join(" and ");
    const entry = this.#entries.get(key) ?? startLoading(load);
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    entry.users++;
    try {
      const loaded = await unlessAborted(entry.loading, signal);
      return { ...loaded, release: once(() => this.#release(entry)) };
    } catch (error) {
      entry.users--;
      if (signal?.aborted && entry.users > 0) throw error;
      entry.controller.abort(error);
      if (this.#entries.get(key) === entry) this.#entries.delete(key);
      entry.loading.then(({ adapter }) => adapter.close()).catch(() => {});
      throw error;
    }
  }

  /** What is being loaded fails. */
  async close(): Promise<void> {
    await this.#reader.close();
  }

  async #read(sources: readonly AdapterSource[], signal: AbortSignal): Promise<LoadedAdapter> {
    const options = { base: this.#base, mostBytes: this.#mostBytes };
    const adapter = await this.#reader.read(sources, this.#model.config, options, signal);
    for (const line of adapter.warnings) this.#warn(line);
    return this.#create(adapter);
  }

  async #create({ modules, promptTemplate }: ServedAdapter): Promise<LoadedAdapter> {
    return { adapter: await this.#model.createAdapter(modules), promptTemplate };
  }

  #release(entry: Entry): void {
    entry.users--;
    for (const [key, { users, loading }] of this.#entries) {
      if (this.#entries.size <= maxEntries) return;
      if (users > 0) continue;
      this.#entries.delete(key);
      loading.then(({ adapter }) => adapter.close()).catch(() => {});
    }
  }
}

function startLoading(load: (signal: AbortSignal) => Promise<LoadedAdapter>): Entry {
  const controller = new AbortController();
  return { loading: load(controller.signal), controller, users: 0 };
}

async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  let abort = () => {};
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
  });
  try {
    signal.throwIfAborted();
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

function once(action: () => void): () => void {
  let done = false;
  return () => {
    if (!done) action();
    done = true;
  };
}

import { type Marked, resolveOutputFiles } from "../files/output-files.ts";
import type { Cancellation } from "./cancellation.ts";
import type { RunEvents } from "./run-events.ts";
import type { RunOptions } from "./run-options.ts";

type Options = Pick<RunOptions, "id" | "uploadUrl" | "outputFetch" | "local">;

/** Hands on the outputs of one run in their order, each once its files are where clients can get them. */
export class Delivery {
  readonly #options: Options;
  readonly #events: RunEvents;
  readonly #cancellation: Cancellation;
  /** What is under way; null: nothing, so that what comes now need not wait. */
  #work: Promise<void> | null = null;
  #failure: unknown = null;

  constructor(options: Options, events: RunEvents, cancellation: Cancellation) {
    this.#options = options;
    this.#events = events;
    this.#cancellation = cancellation;
  }

  /** One item of a generator. When its files fail it is left out, and the ones after it are delivered, as with Cog. */
  item(item: Marked): void {
    if (item.files === undefined && this.#work === null) this.#events.yielded(item.value);
    else void this.#enqueue(item, (value) => this.#events.yielded(value));
  }

  /** Calls back with the value that the author's function returned, when all is delivered; `failure`: the first there was. */
  last(returned: Marked, done: (value: unknown, failure: unknown) => void): void {
    if (returned.files === undefined && this.#work === null) {
      done(returned.value, this.#failure);
      return;
    }
    let value: unknown;
    const work = this.#enqueue(returned, (resolved) => {
      value = resolved;
    });
    void work.then(() => done(value, this.#failure));
  }

  #enqueue(output: Marked, deliver: (value: unknown) => void): Promise<void> {
    const { id, uploadUrl, outputFetch, local } = this.#options;
    const { signal } = this.#cancellation;
    const options = { predictionId: id, uploadUrl, fetch: outputFetch, local: local?.files ?? null, signal };
    const work = (this.#work ?? Promise.resolve())
      .then(() => resolveOutputFiles(output, options))
      .then(deliver)
      .catch((error) => {
        this.#failure ??= error;
      })
      .then(() => {
        if (this.#work === work) this.#work = null;
      });
    this.#work = work;
    return work;
  }
}

import { Lease } from "./lease.ts";
import type { Supervisor } from "./supervisor.ts";

interface SlotsOptions {
  readonly onChange: () => void;
  readonly onIdle: () => void;
}

/** The slots of one worker, free or in the hands of runs. */
export class Slots {
  /** All of them. */
  count = 1;
  readonly #supervisor: Supervisor;
  readonly #options: SlotsOptions;
  #taken = 0;

  constructor(supervisor: Supervisor, options: SlotsOptions) {
    this.#supervisor = supervisor;
    this.#options = options;
  }

  /** Those in use. */
  get taken(): number {
    return this.#taken;
  }

  get isFree(): boolean {
    return this.#taken < this.count;
  }

  /** A slot that is free; null: there is none. */
  lease(): Lease | null {
    if (!this.isFree) return null;
    this.#taken += 1;
    return new Lease(this.#supervisor, this.#giveBack);
  }

  readonly #giveBack = () => {
    this.#taken -= 1;
    this.#options.onChange();
    // Whoever waited may have it by now.
    if (this.#taken === 0) this.#options.onIdle();
  };
}

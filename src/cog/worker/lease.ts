import type { Supervisor } from "./supervisor.ts";

/** A slot of one worker, in the hands of one run at a time until it is given back. */
export class Lease {
  readonly supervisor: Supervisor;
  #giveBack: (() => void) | null;

  constructor(supervisor: Supervisor, giveBack: () => void) {
    this.supervisor = supervisor;
    this.#giveBack = giveBack;
  }

  /** The slot is free; a second call does nothing. */
  release(): void {
    const giveBack = this.#giveBack;
    this.#giveBack = null;
    giveBack?.();
  }
}

interface Waiting {
  readonly bytes: number;
  readonly enter: (leave: (() => void) | null) => void;
}

/** A number of bytes that is shared out first come, first served. */
export class Room {
  readonly #waiting = new Set<Waiting>();
  #free: number;

  constructor(bytes: number) {
    this.#free = bytes;
  }

  /** Resolves, once there is room, to the way to give it back; to null when `patienceMs` are over or `signal` is aborted. */
  enter(
    bytes: number,
    { patienceMs, signal }: { patienceMs: number; signal: AbortSignal },
  ): Promise<(() => void) | null> {
    return new Promise((resolve) => {
      const giveUp = () => {
        waiting.enter(null);
        this.#admit();
      };
      const timer = setTimeout(giveUp, patienceMs);
      const waiting: Waiting = {
        bytes,
        enter: (leave) => {
          clearTimeout(timer);
          signal.removeEventListener("abort", giveUp);
          this.#waiting.delete(waiting);
          resolve(leave);
        },
      };
      signal.addEventListener("abort", giveUp, { once: true });
      this.#waiting.add(waiting);
      this.#admit();
    });
  }

  #admit(): void {
    for (const { bytes, enter } of [...this.#waiting]) {
      if (bytes > this.#free) return;
      this.#free -= bytes;
      let isIn = true;
      enter(() => {
        if (!isIn) return;
        isIn = false;
        this.#free += bytes;
        this.#admit();
      });
    }
  }
}

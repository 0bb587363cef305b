/** Beats per limit: one that is late is no silence. */
const beatsPerLimit = 10;

/** Milliseconds between two beats of a process that may be silent for `limitMs`. */
export function beatMs(limitMs: number): number {
  return Math.max(1, Math.floor(limitMs / beatsPerLimit));
}

interface HeartbeatOptions {
  readonly limitMs: number;
  /** The process has become silent, or is heard again. */
  readonly onChange: () => void;
}

/**
 * Hears the beats of a worker process. They come from a thread of their own, so that code which computes without a pause
 * is no silence: a silent process is stopped or frozen.
 */
export class Heartbeat {
  isSilent = false;
  readonly #onChange: () => void;
  readonly #timer: NodeJS.Timeout;
  #missed = 0;

  constructor({ limitMs, onChange }: HeartbeatOptions) {
    this.#onChange = onChange;
    // Turns are counted instead of time: while this process itself was stopped there were none.
    this.#timer = setInterval(() => this.#miss(), beatMs(limitMs)).unref();
  }

  beat(): void {
    this.#missed = 0;
    if (this.isSilent) this.#change(false);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #miss(): void {
    this.#missed += 1;
    if (this.#missed > beatsPerLimit && !this.isSilent) this.#change(true);
  }

  #change(isSilent: boolean): void {
    this.isSilent = isSilent;
    this.#onChange();
  }
}

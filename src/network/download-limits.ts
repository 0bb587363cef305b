import { Transform } from "node:stream";

/** To the first byte, redirects included, and for bursts: what a download may take beside the time of its bytes. */
export const graceMs = 30_000;

/** Bytes per second, where COG_MIN_DOWNLOAD_SPEED says nothing. */
export const defaultLeastSpeed = 65_536;

export interface LeastSpeed {
  /** COG_MIN_DOWNLOAD_SPEED; 0: any. */
  readonly bytesPerSecond: number;
  readonly graceMs?: number;
}

/** Limits one download: by its bytes, and by the time that they may take. */
export class DownloadLimits {
  readonly signal: AbortSignal;
  readonly #maxBytes: number;
  readonly #speed: LeastSpeed;
  readonly #began = performance.now();
  readonly #tooSlow = new AbortController();
  readonly #timer: NodeJS.Timeout | undefined;
  #total = 0;

  constructor(maxBytes: number, speed: LeastSpeed, signal?: AbortSignal) {
    this.#maxBytes = maxBytes;
    this.#speed = speed;
    const { signal: tooSlow } = this.#tooSlow;
    this.signal = signal === undefined ? tooSlow : AbortSignal.any([signal, tooSlow]);
    const grace = speed.graceMs ?? graceMs;
    if (speed.bytesPerSecond > 0) this.#timer = setInterval(() => this.#checkTime(grace), Math.min(1000, grace));
  }

  /** @throws where so many bytes are too many */
  checkSize(bytes: number): void {
    if (bytes > this.#maxBytes) throw new Error(`the file is larger than ${this.#maxBytes} bytes`);
  }

  /** What is downloaded goes through it. */
  meter(): Transform {
    return new Transform({
      transform: (chunk: Buffer, _encoding, done) => {
        this.#total += chunk.length;
        try {
          this.checkSize(this.#total);
          done(null, chunk);
        } catch (error) {
          done(error as Error);
        }
      },
    });
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #checkTime(grace: number): void {
    const { bytesPerSecond } = this.#speed;
    if (performance.now() - this.#began <= grace + (this.#total / bytesPerSecond) * 1000) return;
    const reason = `it comes at less than ${bytesPerSecond} bytes per second (COG_MIN_DOWNLOAD_SPEED)`;
    this.#tooSlow.abort(new Error(reason));
  }
}

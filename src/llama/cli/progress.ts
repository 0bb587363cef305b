import { say } from "../../terminal/streams.ts";

/** Shorter work needs no bar. */
const quietSeconds = 1;
const [barEvery, linesEvery] = [0.1, 10];
const barWidth = 24;

export interface ProgressOutput {
  readonly isTerminal: boolean;
  /** Text as it is, on a terminal. */
  write(text: string): void;
  line(text: string): void;
  /** Seconds. */
  now(): number;
}

const standardError: ProgressOutput = {
  isTerminal: process.stderr.isTTY === true,
  write: (text) => process.stderr.write(text),
  line: say,
  now: () => performance.now() / 1000,
};

/**
 * How far long work is: on a terminal a bar that moves, elsewhere a line every ten seconds, each with speed and time left.
 * Work of under a second shows nothing.
 */
export class Progress {
  readonly #what: string;
  readonly #total: number;
  readonly #output: ProgressOutput;
  readonly #start: number;
  #done = 0;
  #shownAt: number;
  #hasBar = false;

  /** @param what "Converting" @param total bytes */
  constructor(what: string, total: number, output = standardError) {
    this.#what = what;
    this.#total = total;
    this.#output = output;
    this.#start = output.now();
    this.#shownAt = this.#start + quietSeconds - (output.isTerminal ? barEvery : linesEvery);
  }

  readonly add = (bytes: number): void => {
    this.#done += bytes;
    const now = this.#output.now();
    if (now - this.#start < quietSeconds) return;
    if (now - this.#shownAt < (this.#output.isTerminal ? barEvery : linesEvery)) return;
    this.#shownAt = now;
    const text = this.#text(now - this.#start);
    if (!this.#output.isTerminal) {
      this.#output.line(`${this.#what}: ${text}`);
      return;
    }
    const filled = Math.round((barWidth * this.#done) / this.#total);
    const bar = "█".repeat(filled) + "░".repeat(barWidth - filled);
    // Erases what is left of a longer line.
    this.#output.write(`\r${this.#what} ${bar} ${text}\x1b[K`);
    this.#hasBar = true;
  };

  /** Takes the bar away, whether the work is done or has failed. */
  end(): void {
    if (this.#hasBar) this.#output.write("\r\x1b[K");
  }

  #text(seconds: number): string {
    const speed = this.#done / seconds;
    const left = Math.max(0, this.#total - this.#done) / speed;
    const percent = Math.floor((100 * this.#done) / this.#total);
    return `${percent} %, ${sizeText(this.#done)} of ${sizeText(this.#total)}, ${sizeText(speed)}/s, ${timeText(left)} left`;
  }
}

/** "13.5 GB", decimal units. */
export function sizeText(bytes: number): string {
  for (const [unit, size] of [
    ["GB", 1e9],
    ["MB", 1e6],
    ["kB", 1e3],
  ] as const) {
    if (bytes >= size) return `${(bytes / size).toFixed(bytes < 100 * size ? 1 : 0)} ${unit}`;
  }
  return `${Math.round(bytes)} B`;
}

/** "12 s", "3 min 5 s" */
function timeText(seconds: number): string {
  const whole = Math.ceil(seconds);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

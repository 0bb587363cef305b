import type { LogSink } from "../../log.ts";
import { type Drawing, liveLine } from "./line.ts";
import { Measurements, type Metric } from "./measured.ts";

const redrawMs = 100;

export interface LiveLineOptions {
  /** What the terminal takes, as it stands; lines of the log come here too. */
  readonly output: LogSink;
  /** Of the terminal, now. */
  readonly columns: () => number;
  readonly blocks: boolean;
}

/**
 * The last line of a terminal, which shows where a run is: drawn again at most ten times a second. Lines of the log scroll
 * above it. Everything goes through one output, so that nothing is drawn into a line.
 */
export class LiveLine implements LogSink {
  readonly #options: LiveLineOptions;
  readonly #measurements = new Measurements();
  /** What stands on the last line; "": nothing. */
  #drawn = "";
  #lastDraw = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | null = null;
  #isOver = false;

  constructor(options: LiveLineOptions) {
    this.#options = options;
  }

  measured(metric: Metric): void {
    if (this.#measurements.add(metric)) this.#schedule();
  }

  /** The terminal has another width. */
  resized(): void {
    if (this.#drawn !== "") this.#schedule();
  }

  /** Lines of text, the last one with its newline, above the run's. */
  write(text: string): void {
    const drawn = this.#drawn;
    this.#options.output.write(drawn === "" ? text : `${this.#erased()}${text}${drawn}`);
    this.#drawn = drawn;
  }

  flush(): Promise<void> {
    return this.#options.output.flush();
  }

  /** The run is over: the line goes, or stays as the last state. What follows starts on a line of its own. */
  async end({ stays }: { stays: boolean }): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer);
    if (stays && !this.#isOver) this.#draw();
    this.#isOver = true;
    if (this.#drawn !== "") this.#options.output.write(stays ? "\n" : this.#erased());
    this.#drawn = "";
    await this.flush();
  }

  /** Is the cursor behind a line of its own? */
  get isDrawn(): boolean {
    return this.#drawn !== "";
  }

  #schedule(): void {
    if (this.#timer !== null || this.#isOver) return;
    const wait = Math.max(0, this.#lastDraw + redrawMs - performance.now());
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#draw();
    }, wait);
    this.#timer.unref();
  }

  #draw(): void {
    const now = this.#measurements.now;
    if (now === null || this.#isOver) return;
    const drawing: Drawing = { width: this.#width, blocks: this.#options.blocks };
    const text = liveLine(now, drawing);
    this.#lastDraw = performance.now();
    if (text === this.#drawn) return;
    this.#options.output.write(`${this.#erased()}${text}`);
    this.#drawn = text;
  }

  /** Without the last column: a terminal would wrap there. */
  get #width(): number {
    return Math.max(1, this.#options.columns() - 1);
  }

  /** Takes away what is drawn; a terminal that became narrower has wrapped it. */
  #erased(): string {
    if (this.#drawn === "") return "";
    const rows = Math.ceil(this.#drawn.length / Math.max(1, this.#options.columns()));
    return rows > 1 ? `\x1b[${rows - 1}A\r\x1b[J` : "\r\x1b[K";
  }
}

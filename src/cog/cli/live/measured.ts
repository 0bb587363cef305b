/** Data of an event `metric`. */
export interface Metric {
  readonly name: string;
  readonly value: unknown;
  readonly mode: string;
}

/** Where a run is, by the metrics that it records under names which the command knows: docs/write-a-predictor.md. */
export interface Measured {
  readonly step: number;
  readonly steps: number;
  readonly epoch?: number;
  /** Smoothed. */
  readonly loss?: number;
  readonly learningRate?: number;
  readonly tokensPerSecond?: number;
  readonly secondsLeft?: number;
  /** Losses from the first on, each the mean of as many. */
  readonly losses: readonly number[];
}

const known = new Set(["step", "steps", "epoch", "loss", "learning_rate", "tokens_per_second", "seconds_left"]);
/** Of the smoothed loss, in losses that were told. */
const window = 10;
/** Losses that are kept. */
const mostLosses = 512;

/** Follows a run's metrics. */
export class Measurements {
  readonly #values = new Map<string, number>();
  readonly #losses: number[] = [];
  /** Losses behind each of #losses, and those of the next one. */
  #stride = 1;
  #next: number[] = [];
  #smooth = { sum: 0, weight: 0 };

  /** True where it changes what is shown. */
  add({ name, value, mode }: Metric): boolean {
    if (!known.has(name) || typeof value !== "number" || mode !== "replace") return false;
    this.#values.set(name, value);
    if (name === "loss") this.#addLoss(value);
    return true;
  }

  /** null where there is nothing to show: no `step` and `steps`. */
  get now(): Measured | null {
    const value = (name: string) => this.#values.get(name);
    const [step, steps] = [value("step"), value("steps")];
    if (step === undefined || steps === undefined || !(steps > 0)) return null;
    return {
      step,
      steps,
      ...given("epoch", value("epoch")),
      ...given("loss", this.#smooth.weight > 0 ? this.#smooth.sum / this.#smooth.weight : undefined),
      ...given("learningRate", value("learning_rate")),
      ...given("tokensPerSecond", value("tokens_per_second")),
      ...given("secondsLeft", value("seconds_left")),
      losses: [...this.#losses, ...(this.#next.length > 0 ? [mean(this.#next)] : [])],
    };
  }

  #addLoss(loss: number): void {
    const keep = 1 - 1 / window;
    const { sum, weight } = this.#smooth;
    this.#smooth = { sum: keep * sum + loss / window, weight: keep * weight + 1 / window };
    this.#next.push(loss);
    if (this.#next.length < this.#stride) return;
    this.#losses.push(mean(this.#next));
    this.#next = [];
    if (this.#losses.length < mostLosses) return;
    // Two become one: a long run takes no more memory than a short one.
    this.#stride *= 2;
    const pairs = Array.from({ length: mostLosses / 2 }, (_, i) => mean(this.#losses.slice(2 * i, 2 * i + 2)));
    this.#losses.splice(0, mostLosses, ...pairs);
  }
}

function given<Name extends string>(name: Name, value: number | undefined): { [name in Name]?: number } {
  return (value === undefined ? {} : { [name]: value }) as { [name in Name]?: number };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

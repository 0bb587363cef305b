/** One optimiser step. */
export interface StepRecord {
  /** Counted from 1. */
  readonly step: number;
  /** Mean over the learnt tokens of all the step's rows, nats. */
  readonly loss: number;
  /** Of the whole adapter, before clipping. */
  readonly gradNorm: number;
  readonly learningRate: number;
  /** Tokens that went through the model. */
  readonly tokens: number;
}

export interface Evaluation {
  /** After this many steps. */
  readonly step: number;
  /** Mean over the learnt tokens of the validation rows, nats. */
  readonly loss: number;
}

/** The first one of the lowest loss; undefined of none. */
export function lowest<Record extends { readonly loss: number }>(records: readonly Record[]): Record | undefined {
  let best = records[0];
  for (const record of records) if (record.loss < best!.loss) best = record;
  return best;
}

export interface Progress extends StepRecord {
  /** This step took. */
  readonly seconds: number;
  /** Of the whole run. */
  readonly steps: number;
  /** Passes over the rows so far, with its fraction. */
  readonly epoch: number;
  /** Mean of the run so far. */
  readonly tokensPerSecond: number;
  readonly secondsLeft: number;
}

/** "step 12/60  loss 1.2345  812 tokens/s  0:35 left" */
export function progressLine({ step, steps, loss, tokensPerSecond, secondsLeft }: Progress): string {
  const number = String(step).padStart(String(steps).length);
  const speed = tokensPerSecond.toFixed(0);
  return `step ${number}/${steps}  loss ${loss.toFixed(4)}  ${speed} tokens/s  ${duration(secondsLeft)} left`;
}

/** Of a mean loss in nats: "3.44", "1,234". */
export function perplexity(loss: number): string {
  const value = Math.exp(loss);
  return value < 1000 ? value.toPrecision(3) : Math.round(value).toLocaleString("en-US");
}

/** "0:35", "12:05", "3:00:20" */
export function duration(seconds: number): string {
  const whole = Math.ceil(seconds);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (n: number) => String(n).padStart(2, "0");
  return hours > 0 ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

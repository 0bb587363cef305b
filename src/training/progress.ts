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

export interface Progress extends StepRecord {
  /** Of the whole run. */
  readonly steps: number;
  /** Passes over the rows so far, with its fraction. */
  readonly epoch: number;
  /** Mean of the run so far. */
  readonly tokensPerSecond: number;
  readonly secondsLeft: number;
}

/** At most this many lines for a run, besides its first and last step. */
const linesPerRun = 40;

/** Whether this step is one to print: evenly many, the first and the last always. */
export function isWorthPrinting({ step, steps }: Progress): boolean {
  return step === 1 || step === steps || step % Math.ceil(steps / linesPerRun) === 0;
}

/** "step 12/60  loss 1.2345  812 tokens/s  0:35 left" */
export function progressLine({ step, steps, loss, tokensPerSecond, secondsLeft }: Progress): string {
  const number = String(step).padStart(String(steps).length);
  const speed = tokensPerSecond.toFixed(0);
  return `step ${number}/${steps}  loss ${loss.toFixed(4)}  ${speed} tokens/s  ${duration(secondsLeft)} left`;
}

/** "0:35", "12:05", "3:00:20" */
export function duration(seconds: number): string {
  const whole = Math.ceil(seconds);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (n: number) => String(n).padStart(2, "0");
  return hours > 0 ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

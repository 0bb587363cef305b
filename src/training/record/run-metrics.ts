import type { TrainingObserver } from "../observer.ts";
import type { Progress } from "../progress.ts";

/** Records a metric of the run, as the container's `recordMetric` does. */
export type RecordMetric = (
  name: string,
  value: number | Readonly<Record<string, number>>,
  mode?: "replace" | "append",
) => void;

/** Of each curve. They travel with every answer and webhook of the run: some 50 KB. */
const mostPoints = 500;
const secondsBetweenValues = 0.1;

/**
 * A run as metrics: the latest numbers (`step`, `steps`, `epoch`, `loss`, `learning_rate`, `grad_norm`, `tokens_per_second`,
 * `seconds_left`, `validation_loss`), ten times a second at most, and two lists that grow to 500 points each. A point of
 * `curve.training` is the mean over its steps, `step` the last of them; one of `curve.validation` is an evaluation.
 * @param clock seconds
 */
export function runMetrics(record: RecordMetric, clock = () => performance.now() / 1000): TrainingObserver {
  let lastValues = Number.NEGATIVE_INFINITY;
  let latest: Progress | null = null;
  let validation: { validation_loss?: number } = {};
  let isLatestTold = true;
  let stride: Progress[] = [];
  let lastEvaluation = Number.NEGATIVE_INFINITY;

  const tell = () => {
    if (latest === null || isLatestTold) return;
    for (const [name, value] of Object.entries({ ...valuesOf(latest), ...validation })) record(name, value);
    isLatestTold = true;
    lastValues = clock();
  };
  const tellWhereDue = () => {
    if (clock() - lastValues >= secondsBetweenValues) tell();
  };
  const addPoint = () => {
    if (stride.length > 0) record("curve.training", pointOf(stride), "append");
    stride = [];
  };
  return {
    step(progress) {
      if (latest === null) record("steps", progress.steps);
      latest = progress;
      isLatestTold = false;
      stride.push(progress);
      if (stride.length === Math.ceil(progress.steps / mostPoints)) addPoint();
      tellWhereDue();
    },
    evaluation({ step, loss }) {
      validation = { validation_loss: loss };
      isLatestTold = false;
      tellWhereDue();
      if (step - lastEvaluation < (latest?.steps ?? 0) / mostPoints) return;
      lastEvaluation = step;
      record("curve.validation", { step, loss }, "append");
    },
    end() {
      addPoint();
      tell();
    },
  };
}

function valuesOf({ step, epoch, loss, learningRate, gradNorm, tokensPerSecond, secondsLeft }: Progress) {
  return {
    step,
    epoch,
    loss,
    learning_rate: learningRate,
    grad_norm: gradNorm,
    tokens_per_second: tokensPerSecond,
    seconds_left: secondsLeft,
  };
}

function pointOf(steps: readonly Progress[]) {
  const sum = (of: (step: Progress) => number) => steps.reduce((total, step) => total + of(step), 0);
  return {
    step: steps.at(-1)!.step,
    loss: sum(({ loss }) => loss) / steps.length,
    learning_rate: sum(({ learningRate }) => learningRate) / steps.length,
    grad_norm: sum(({ gradNorm }) => gradNorm) / steps.length,
    tokens_per_second: sum(({ tokens }) => tokens) / sum(({ seconds }) => seconds),
  };
}

import type { TrainingObserver } from "./observer.ts";
import { duration, type Progress, perplexity, progressLine } from "./progress.ts";

const secondsBetweenLines = 10;
const secondsBetweenEncodingLines = 5;
/** A run of so few steps shows all of them. */
const fewSteps = 20;
/** Characters of a prompt or an answer in a line. */
const mostShown = 300;

/**
 * A run as lines of its log: its first and last step, and one at least every ten seconds where steps are not longer.
 * @param clock seconds
 */
export function logLines(
  log: (line: string) => void,
  { steps: showsSteps = true, clock = () => performance.now() / 1000 } = {},
): TrainingObserver {
  let lastLine = Number.NEGATIVE_INFINITY;
  let encodingSince: number | null = null;
  /** A line for the next step would come too late. */
  const isDue = ({ seconds }: Progress) => clock() + seconds - lastLine > secondsBetweenLines;
  return {
    encoding({ done, rows, secondsLeft }) {
      encodingSince ??= clock();
      if (done === rows || clock() - encodingSince < secondsBetweenEncodingLines) return;
      encodingSince = clock();
      const [some, all] = [done, rows].map((count) => count.toLocaleString("en-US"));
      log(`encoded ${some} of ${all} rows  ${duration(secondsLeft)} left`);
    },
    step(progress) {
      const { step, steps } = progress;
      if (!showsSteps || !(steps <= fewSteps || step === steps || isDue(progress))) return;
      log(progressLine(progress));
      lastLine = clock();
    },
    evaluation({ step, loss }) {
      log(`validation loss ${loss.toFixed(4)} (perplexity ${perplexity(loss)}) after step ${step}`);
    },
    samples({ step, samples }) {
      for (const { prompt, answer } of samples) log(`sample after step ${step}: ${shown(prompt)} -> ${shown(answer)}`);
    },
  };
}

/** On one line. */
function shown(text: string): string {
  const some = [...text.slice(0, 2 * mostShown)].slice(0, mostShown).join("");
  return JSON.stringify(some.length < text.length ? `${some}…` : some);
}

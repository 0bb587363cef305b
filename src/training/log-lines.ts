import type { TrainingObserver } from "./observer.ts";
import { duration, type Progress, perplexity, progressLine } from "./progress.ts";

const secondsBetweenEncodingLines = 5;
/** A run of so few steps shows all of them. */
const fewSteps = 20;
/** Characters of a prompt or an answer in a line. */
const mostShown = 300;

/**
 * A run as lines of its log: its first and last step, and a line at least every ten seconds. Where a step, or the evaluation
 * after it, takes longer, that line says so.
 * @param clock seconds
 */
export function logLines(
  log: (line: string) => void,
  { steps: showsSteps = true, seconds: between = 10, clock = () => performance.now() / 1000 } = {},
): TrainingObserver {
  let lastLine = Number.NEGATIVE_INFINITY;
  let timer: NodeJS.Timeout | undefined;
  /** The last thing that was done, and when. */
  let done = { what: "", at: 0 };
  /** Of the last step, where no line has shown it. */
  let untold: Progress | null = null;
  const stop = () => clearInterval(timer);
  const tellOfWork = () => {
    // A line after the next tick would come too late.
    if (clock() - lastLine < 0.9 * between) return;
    log(untold ? progressLine(untold) : `at work since ${done.what}, ${duration(clock() - done.at)} ago`);
    untold = null;
    lastLine = clock();
  };
  let encodingSince: number | null = null;
  /** A line for the next step would come too late. */
  const isDue = ({ seconds }: Progress) => clock() + seconds - lastLine > between;
  return {
    encoding({ done, rows, secondsLeft }) {
      encodingSince ??= clock();
      if (done === rows || clock() - encodingSince < secondsBetweenEncodingLines) return;
      encodingSince = clock();
      const [some, all] = [done, rows].map((count) => count.toLocaleString("en-US"));
      log(`encoded ${some} of ${all} rows  ${duration(secondsLeft)} left`);
    },
    begin(steps) {
      if (!showsSteps) return;
      done = { what: `the start of ${steps} steps`, at: clock() };
      lastLine = clock();
      timer = setInterval(tellOfWork, 100 * between);
      timer.unref();
    },
    step(progress) {
      const { step, steps } = progress;
      done = { what: `step ${step}/${steps}`, at: clock() };
      untold = progress;
      if (!showsSteps || !(steps <= fewSteps || step === 1 || step === steps || isDue(progress))) return;
      log(progressLine(progress));
      untold = null;
      lastLine = clock();
    },
    evaluation({ step, loss }) {
      log(`validation loss ${loss.toFixed(4)} (perplexity ${perplexity(loss)}) after step ${step}`);
      lastLine = clock();
    },
    end: stop,
    close: stop,
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

import type { TrainingObserver } from "./observer.ts";
import { isWorthPrinting, progressLine } from "./progress.ts";

/** A run as lines of its log. */
export function logLines(log: (line: string) => void): TrainingObserver {
  return {
    step(progress) {
      if (isWorthPrinting(progress)) log(progressLine(progress));
    },
    evaluation({ step, loss }) {
      log(`validation loss ${loss.toFixed(4)} after step ${step}`);
    },
  };
}

import { duration, lowest, perplexity } from "../progress.ts";
import { megabytesText } from "../report/units.ts";
import type { TrainedAdapter } from "../train-lora.ts";

/**
 * What a run came to, for its log: time, tokens, first, last and lowest loss, perplexity.
 * @param bytes of the archive, where there is one
 */
export function summaryLines({ plan, steps, evaluations, tokensPerSecond }: TrainedAdapter, bytes?: number): string[] {
  const [first, last] = [steps.at(0), steps.at(-1)];
  if (first === undefined || last === undefined) return [];
  const tokens = steps.reduce((sum, step) => sum + step.tokens, 0);
  const epochs = Number((steps.length / plan.stepsPerEpoch).toFixed(2));
  const least = lowest(steps)!;
  const lines = [
    `trained ${counted(steps.length, "step")}, ${counted(epochs, "epoch")}, in ${duration(tokens / tokensPerSecond)}: ` +
      `${counted(tokens, "token")}, ${tokensPerSecond.toFixed(0)} tokens/s`,
    `loss ${first.loss.toFixed(4)} at first, ${last.loss.toFixed(4)} at last, ` +
      `${least.loss.toFixed(4)} at its lowest (step ${least.step})` +
      (evaluations.length > 0 ? "" : `; perplexity ${perplexity(last.loss)} at last`),
  ];
  const final = evaluations.at(-1);
  if (final !== undefined) {
    const kept = lowest(evaluations)!;
    lines.push(
      `best validation loss ${kept.loss.toFixed(4)} (perplexity ${perplexity(kept.loss)}) after step ${kept.step}, ` +
        `whose adapter is kept; ${final.loss.toFixed(4)} at last`,
    );
  }
  if (bytes !== undefined) lines.push(`adapter of rank ${plan.settings.lora_r}, ${megabytesText(bytes)}`);
  return lines;
}

function counted(count: number, what: string): string {
  return `${count.toLocaleString("en-US")} ${what}${count === 1 ? "" : "s"}`;
}

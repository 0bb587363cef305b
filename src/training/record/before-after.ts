import { lowest } from "../progress.ts";
import type { TrainedAdapter } from "../train-lora.ts";

/** A prompt, answered before the first step and by the adapter that was kept. */
export interface BeforeAfter {
  readonly prompt: string;
  readonly before: string;
  readonly after: string;
}

/** Of the sample prompts; none where they were not answered at both times. */
export function beforeAfter({ samples, evaluations, steps }: TrainedAdapter): BeforeAfter[] {
  const at = (step: number | undefined) => samples.find((record) => record.step === step)?.samples ?? [];
  const [before, after] = [at(0), at(lowest(evaluations)?.step ?? steps.at(-1)?.step)];
  return before.flatMap(({ prompt, answer }, i) => {
    const later = after[i];
    return later === undefined ? [] : [{ prompt, before: answer, after: later.answer }];
  });
}

import { lowest } from "../progress.ts";
import type { TrainedAdapter } from "../train-lora.ts";
import type { BeforeAfter } from "./before-after.ts";
import type { RunFacts } from "./facts.ts";

/**
 * training.json: what the adapter was made of and by, and what came of it. Keys as in the inputs of train.ts. Without times and
 * speeds, so that the same run has the same bytes.
 */
export function trainingJson(result: TrainedAdapter, facts: RunFacts, samples: readonly BeforeAfter[]): string {
  const { steps, evaluations, plan, adapter } = result;
  // Its path is the machine's; the template itself stands below.
  const { prompt_template: _, ...settings } = plan.settings;
  const { base, data } = facts;
  const record = {
    settings,
    prompt_template: adapter.promptTemplate ?? null,
    base: { name: base.name, sha256: base.sha256 },
    data: {
      rows: data.rows,
      training_rows: plan.trainingRows,
      file_sha256: data.fileSha256,
      rows_sha256: data.rowsSha256,
      validation: data.validation && { rows: data.validation.rows, rows_sha256: data.validation.rowsSha256 },
    },
    initial_adapter_sha256: facts.initialAdapter,
    steps: steps.length,
    epochs: steps.length / plan.stepsPerEpoch,
    tokens: steps.reduce((sum, { tokens }) => sum + tokens, 0),
    losses: {
      first: steps.at(0)?.loss ?? null,
      last: steps.at(-1)?.loss ?? null,
      lowest: lowest(steps)?.loss ?? null,
    },
    evaluations,
    stopped_early: result.stopped !== null,
    samples,
    versions: facts.versions,
    hardware: facts.hardware,
  };
  return `${JSON.stringify(record, null, 2)}\n`;
}

/** metrics.jsonl: a line a step, and one an evaluation after its step. */
export function metricsLines({ steps, evaluations }: TrainedAdapter): string {
  const after = new Map(evaluations.map(({ step, loss }) => [step, loss]));
  const lines: string[] = [];
  for (const { step, loss, learningRate, gradNorm, tokens } of steps) {
    lines.push(JSON.stringify({ step, loss, learning_rate: learningRate, grad_norm: gradNorm, tokens }));
    const validation = after.get(step);
    if (validation !== undefined) lines.push(JSON.stringify({ step, validation_loss: validation }));
  }
  return lines.map((line) => `${line}\n`).join("");
}

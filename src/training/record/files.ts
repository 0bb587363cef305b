import type { AdapterNote } from "../../llama/adapter/index.ts";
import type { TrainedAdapter } from "../train-lora.ts";
import { beforeAfter } from "./before-after.ts";
import type { RunFacts } from "./facts.ts";
import { lossChart } from "./loss-chart.ts";
import { modelCard } from "./model-card.ts";
import { cardName, chartName, metricsName, trainingName } from "./names.ts";
import type { Point } from "./thinning.ts";
import { metricsLines, trainingJson } from "./training-json.ts";

/** What lies beside a trained adapter in its archive. The same run gives the same texts. */
export function recordFiles(result: TrainedAdapter, facts: RunFacts): readonly AdapterNote[] {
  const samples = beforeAfter(result);
  const points = (values: readonly { step: number; loss: number }[]) =>
    values.map(({ step, loss }): Point => [step, loss]);
  const title = `LoRA on ${facts.base.name}`;
  return [
    { name: cardName, text: modelCard(result, facts, samples) },
    { name: chartName, text: lossChart(title, points(result.steps), points(result.evaluations)) },
    { name: trainingName, text: trainingJson(result, facts, samples) },
    { name: metricsName, text: metricsLines(result) },
  ];
}

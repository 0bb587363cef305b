/** The files beside an adapter that say how it was trained. */
export const trainingName = "training.json";
export const metricsName = "metrics.jsonl";
export const chartName = "loss.svg";
export const cardName = "README.md";

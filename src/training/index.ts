export { type LinearName, linearNames } from "../engine/config.ts";
export type { AdapterModule } from "../engine/engine.ts";
export { checkpointsFolder, openCheckpoints, RunCheckpoints } from "./checkpoint/index.ts";
export {
  type ConversationRow,
  type Dataset,
  type DatasetFormat,
  type DatasetOptions,
  type DatasetSummary,
  datasetFormats,
  type InstructionRow,
  type Row,
  type RowSource,
  readDataset,
  type TextRow,
} from "./dataset/index.ts";
export { readRanks } from "./distributed/ranks.ts";
export type { TrainingObserver } from "./observer.ts";
export { type OtherInputs, ownSettings, refusedNames } from "./other-trainers.ts";
export { AdapterOutput } from "./output.ts";
export type { Given, Plan } from "./plan.ts";
export type { Evaluation, Progress, StepRecord } from "./progress.ts";
export { factsOf, type RunFacts } from "./record/facts.ts";
export { type RecordMetric, runMetrics } from "./record/run-metrics.ts";
export { baseWithoutWeights, type DryRun } from "./report/dry-run.ts";
export type { Sample, SampleRecord } from "./samples.ts";
export { schedules } from "./schedule.ts";
export { mostSamples, type TrainingSettings, targetModules } from "./settings.ts";
export {
  type Base,
  dryRun,
  type TrainedAdapter,
  type TrainingOutput,
  type TrainingResult,
  type TrainingRun,
  trainLora,
} from "./train-lora.ts";

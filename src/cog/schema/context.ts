import { AsyncLocalStorage } from "node:async_hooks";

export type MetricMode = "replace" | "increment" | "append";
export type MetricValue = boolean | number | string | readonly unknown[] | { readonly [key: string]: unknown };

/** What a running prediction or training can use besides its input. */
export interface PredictionContext<M = unknown> {
  /** What `setup` returned. */
  readonly model: M;
  readonly id: string;
  /** Names of the inputs that the request holds; the others have their defaults. */
  readonly given: ReadonlySet<string>;
  /** Aborted on cancel, and at a shutdown that does not wait. */
  readonly signal: AbortSignal;
  /** The request's `context`. */
  readonly context: Readonly<Record<string, string>>;
  /** @throws CodedError METRIC_INVALID when the name, the value's type or the mode breaks the rules for metrics */
  recordMetric(name: string, value: MetricValue, mode?: MetricMode): void;
  deleteMetric(name: string): void;
  /** A line of this prediction's log. */
  log(...values: unknown[]): void;
  /** A folder of this prediction; removed when it has ended and its output files have been read or uploaded. */
  readonly tempDir: string;
}

export const contexts = new AsyncLocalStorage<PredictionContext>();

/** The context of the prediction this code runs for, anywhere below `predict`; undefined outside. */
export function currentContext(): PredictionContext | undefined {
  return contexts.getStore();
}

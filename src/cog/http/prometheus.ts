import { Counter, Gauge, type Metric, Registry } from "prom-client";
import type { Predictions } from "../prediction/predictions.ts";
import { type RunStatistics, timeLimits } from "../prediction/statistics.ts";

/** Series of a training's own metrics: a model may record as many names as it likes. */
const mostTrainingMetrics = 50;

const families = ["predictions", "trainings"] as const;

/** The text of GET /metrics, in Prometheus' exposition format. The numbers are read when they are asked for. */
export class Exposition {
  readonly contentType: string;
  readonly #registry = new Registry();

  constructor(predictions: Predictions) {
    const { statistics, main, queue } = predictions;
    this.contentType = this.#registry.contentType;
    const gauge = (name: string, help: string, value: () => number) =>
      new Gauge({
        name,
        help,
        registers: [this.#registry],
        collect() {
          this.set(value());
        },
      });
    const counter = (
      name: string,
      help: string,
      labelNames: string[],
      counts: () => [Record<string, string>, number][],
    ) =>
      new Counter({
        name,
        help,
        labelNames,
        registers: [this.#registry],
        collect() {
          this.reset();
          for (const [labels, count] of counts()) this.inc(labels, count);
        },
      });
    gauge("cog_ready", "1 while predictions are taken", () => Number(main.isReady));
    gauge("cog_slots", "Runs that may go on at the same time", () => main.slots.count);
    gauge("cog_slots_in_use", "Slots that are taken", () => main.slots.taken);
    gauge("cog_queue_limit", "Runs that may wait for a slot", () => queue.limit);
    gauge("cog_queue_length", "Runs that wait for a slot", () => queue.length);
    counter("cog_worker_deaths_total", "Unexpected ends of the process that runs the model", [], () => [
      [{}, main.restarts.deaths],
    ]);
    counter("cog_runs_total", "Runs that have ended", ["family", "status"], () =>
      families.flatMap((family) =>
        Object.entries(statistics[family].ended).map(([status, count]): [Record<string, string>, number] => [
          { family, status },
          count,
        ]),
      ),
    );
    counter("cog_refused_total", "Requests without a run, by reason", ["reason"], () =>
      Object.entries(statistics.refusals).map(([reason, count]) => [{ reason }, count]),
    );
    new Gauge({
      name: "cog_training_metric",
      help: "What the training under way has recorded last, where it is a number",
      labelNames: ["name"],
      registers: [this.#registry],
      collect() {
        this.reset();
        for (const [name, value] of predictions.trainingMetrics(mostTrainingMetrics)) this.set({ name }, value);
      },
    });
    this.#registry.registerMetric(runTimes(statistics));
    gauge("process_resident_memory_bytes", "Memory of the server's process", () => process.memoryUsage.rss());
    gauge("process_start_time_seconds", "When the server's process began", () => Date.now() / 1000 - process.uptime());
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }
}

/** The library's own histogram wants to be told of each run; ours has been counted already. */
function runTimes(statistics: RunStatistics): Metric {
  const name = "cog_run_seconds";
  const described = { name, help: "Seconds from a run's slot to its end", type: "histogram", aggregator: "sum" };
  const values = () =>
    families.flatMap((family) => {
      const { times, totalSeconds } = statistics[family];
      let count = 0;
      const classes = times.map((inClass, index) => {
        count += inClass;
        return { metricName: `${name}_bucket`, labels: { le: timeLimits[index] ?? "+Inf", family }, value: count };
      });
      return [
        ...classes,
        { metricName: `${name}_sum`, labels: { family }, value: totalSeconds },
        { metricName: `${name}_count`, labels: { family }, value: count },
      ];
    });
  return { ...described, get: async () => ({ ...described, values: values() }) } as unknown as Metric;
}

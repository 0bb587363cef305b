import type { RunRecord, Status } from "./record.ts";

export type EndStatus = Exclude<Status, "starting" | "processing">;

/** Upper limits of the classes of run times, in seconds: from a no-op to a long training. */
export const timeLimits = [0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200] as const;

export interface FamilyStatistics {
  readonly ended: Record<EndStatus, number>;
  /** Runs by class of time; the last class has no limit. */
  readonly times: number[];
  totalSeconds: number;
}

/** What is counted of all runs since the start. Plain additions: this is on the way of every request. */
export class RunStatistics {
  readonly predictions = newFamily();
  readonly trainings = newFamily();
  readonly refusals = { notReady: 0, busy: 0, queueFull: 0 };

  ended(family: "predictions" | "trainings", { status, predictTime }: RunRecord): void {
    const counts = this[family];
    const seconds = predictTime ?? 0;
    counts.ended[status as EndStatus] += 1;
    counts.totalSeconds += seconds;
    let index = 0;
    while (index < timeLimits.length && seconds > timeLimits[index]!) index++;
    counts.times[index]! += 1;
  }

  refused(reason: keyof RunStatistics["refusals"]): void {
    this.refusals[reason] += 1;
  }
}

function newFamily(): FamilyStatistics {
  return {
    ended: { succeeded: 0, failed: 0, canceled: 0 },
    times: new Array<number>(timeLimits.length + 1).fill(0),
    totalSeconds: 0,
  };
}

import { readFileSync } from "node:fs";
import { cpus } from "node:os";

/** Up to this share of the processors' time other programs may take beside a measurement. */
const tolerated = 0.05;
const attempts = 3;

/** The share that others took beside each measurement that was kept. */
export const otherPrograms: number[] = [];

/** Processor time so far, in seconds: of all programs (and of what the host took), of this process and its ended children. */
function processorTime(): { all: number; own: number } {
  const ticks = (text: string, indices: number[]) => {
    const fields = text.trim().split(/\s+/);
    return indices.reduce((sum, i) => sum + Number(fields[i]), 0) / 100;
  };
  // Of all: user, nice, system, irq, softirq, steal. Of a process, behind its name: utime, stime, cutime, cstime.
  const all = ticks(readFileSync("/proc/stat", "utf8").split("\n", 1)[0]!, [1, 2, 3, 6, 7, 8]);
  const own = ticks(readFileSync("/proc/self/stat", "utf8").split(") ")[1]!, [11, 12, 13, 14]);
  return { all, own };
}

/** The share of all processors' time that others took while `work` ran. */
async function beside<T>(work: () => T | Promise<T>): Promise<{ result: T; others: number }> {
  const before = processorTime();
  const start = performance.now();
  const result = await work();
  const after = processorTime();
  const seconds = ((performance.now() - start) / 1000) * cpus().length;
  return { result, others: (after.all - before.all - (after.own - before.own)) / seconds };
}

/**
 * What `work` measured while the machine was left to it: measures again where other programs disturbed, and after a few
 * attempts says so. On systems without /proc it measures once.
 */
export async function undisturbed<T>(work: () => T | Promise<T>): Promise<T> {
  if (process.platform !== "linux") return work();
  for (let attempt = 1; ; attempt++) {
    const { result, others } = await beside(work);
    if (others > tolerated && attempt < attempts) continue;
    if (others > tolerated)
      console.error(`beside other programs, which took ${Math.round(others * 100)} % of the processors`);
    otherPrograms.push(others);
    return result;
  }
}

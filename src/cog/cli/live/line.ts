import type { Measured } from "./measured.ts";

export interface Drawing {
  /** Columns that the line may take. */
  readonly width: number;
  /** Block characters; else ASCII alone. */
  readonly blocks: boolean;
}

const [narrowestBar, widestBar] = [10, 30];
const [narrowestCurve, widestCurve] = [8, 60];
const curveBlocks = "▁▂▃▄▅▆▇█";

/**
 * One line about a run, as much of it as fits: `step 12/60 [████░░░░] 20%  loss 1.2345  0:35 left  ▇▆▅▃▂  812 tokens/s  …`.
 * What a reader misses least is left out first.
 */
export function liveLine(run: Measured, { width, blocks }: Drawing): string {
  const share = Math.min(1, Math.max(0, run.step / run.steps));
  const count = `step ${String(run.step).padStart(String(run.steps).length)}/${run.steps}`;
  const percent = `${String(Math.floor(100 * share)).padStart(3)}%`;
  const parts = [
    ...(run.loss === undefined ? [] : [`loss ${number(run.loss)}`]),
    ...(run.secondsLeft === undefined ? [] : [`${clock(run.secondsLeft)} left`]),
    ...(run.tokensPerSecond === undefined ? [] : [`${Math.round(run.tokensPerSecond)} tokens/s`]),
    ...(run.epoch === undefined ? [] : [`epoch ${run.epoch.toFixed(2)}`]),
    ...(run.learningRate === undefined ? [] : [`lr ${run.learningRate.toPrecision(2)}`]),
  ];
  const least = [count, percent].join(" ");
  let room = width - least.length - 1 - narrowestBar - (blocks ? 0 : 2);
  if (room < 0) return least.slice(0, width);
  const wantsCurve = blocks && run.losses.length > 1;
  const shown: string[] = [];
  for (const [index, part] of parts.entries()) {
    if (room < part.length + 2) break;
    // The curve goes before what is less missed than it: speed, epoch, rate.
    if (wantsCurve && index === 2 && room < part.length + 2 + narrowestCurve + 2) break;
    shown.push(part);
    room -= part.length + 2;
  }
  const curveWidth = wantsCurve && room >= narrowestCurve + 2 ? Math.min(widestCurve, room - 2) : 0;
  if (curveWidth > 0) {
    const curve = sparkline(run.losses, curveWidth);
    // After the loss.
    shown.splice(1, 0, curve);
    room -= curve.length + 2;
  }
  const bar = bars(share, Math.min(widestBar, narrowestBar + room), blocks);
  return [`${count} ${bar} ${percent}`, ...shown].join("  ");
}

/** Means of neighbours, each as one of eight blocks between the lowest and the highest; as wide as there are values at most. */
export function sparkline(values: readonly number[], width: number): string {
  const count = Math.min(width, values.length);
  const means = Array.from({ length: count }, (_, i) => {
    const some = values.slice(Math.floor((i * values.length) / count), Math.floor(((i + 1) * values.length) / count));
    return some.reduce((sum, value) => sum + value, 0) / some.length;
  });
  const [low, high] = [Math.min(...means), Math.max(...means)];
  const level = (value: number) => (high > low ? Math.round(((value - low) / (high - low)) * 7) : 0);
  return means.map((value) => curveBlocks[level(value)]).join("");
}

function bars(share: number, width: number, blocks: boolean): string {
  const done = Math.floor(share * width);
  return blocks ? "█".repeat(done) + "░".repeat(width - done) : `[${"#".repeat(done)}${"-".repeat(width - done)}]`;
}

function number(value: number): string {
  return Math.abs(value) < 1000 ? value.toFixed(4) : value.toPrecision(3);
}

/** "0:35", "12:05", "3:00:20" */
function clock(seconds: number): string {
  const whole = Math.max(0, Math.ceil(Math.min(seconds, 1e7)));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (n: number) => String(n).padStart(2, "0");
  return hours > 0 ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

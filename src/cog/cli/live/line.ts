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
/** One to seven eighths of a column. */
const barBlocks = "▏▎▍▌▋▊▉";

/**
 * One line about a run, as much of it as fits: `step 12/60 [████░░░░] 20%  loss 1.2345  0:35 left  ▇▆▅▃▂  812 tokens/s  …`.
 * What a reader misses least is left out first.
 */
export function liveLine(run: Measured, { width, blocks }: Drawing): string {
  const share = Math.min(1, Math.max(0, run.step / run.steps));
  const count = `step ${String(run.step).padStart(String(run.steps).length)}/${run.steps}`;
  const percent = `${String(Math.floor(100 * share)).padStart(3)}%`;
  const least = `${count} ${percent}`;
  let room = width - least.length - 1 - narrowestBar - (blocks ? 0 : 2);
  if (room < 0) return least.slice(0, width);
  /** Takes the room of as many of them as fit. */
  const fitting = (parts: readonly (string | null)[]): string[] => {
    const shown: string[] = [];
    for (const part of parts.filter((each) => each !== null)) {
      if (part.length + 2 > room) break;
      room -= part.length + 2;
      shown.push(part);
    }
    return shown;
  };
  const first = fitting([
    run.loss === undefined ? null : `loss ${number(run.loss)}`,
    run.secondsLeft === undefined ? null : `${clock(run.secondsLeft)} left`,
  ]);
  const hasCurve = blocks && run.losses.length > 1 && room >= narrowestCurve + 2;
  if (hasCurve) room -= narrowestCurve + 2;
  const others = fitting([
    run.tokensPerSecond === undefined ? null : `${Math.round(run.tokensPerSecond)} tokens/s`,
    run.epoch === undefined ? null : `epoch ${run.epoch.toFixed(2)}`,
    run.learningRate === undefined ? null : `lr ${run.learningRate.toPrecision(2)}`,
  ]);
  const curve = hasCurve ? sparkline(run.losses, Math.min(widestCurve, narrowestCurve + room)) : "";
  if (hasCurve) {
    room -= curve.length - narrowestCurve;
    // After the loss.
    first.splice(1, 0, curve);
  }
  const bar = bars(share, Math.min(widestBar, narrowestBar + room), blocks);
  return [`${count} ${bar} ${percent}`, ...first, ...others].join("  ");
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
  if (!blocks) return `[${"#".repeat(done)}${"-".repeat(width - done)}]`;
  const eighths = Math.floor((share * width - done) * 8);
  const part = eighths > 0 ? barBlocks[eighths - 1]! : "";
  return ("█".repeat(done) + part).padEnd(width, "░");
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

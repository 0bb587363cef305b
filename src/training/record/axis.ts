/** A range of values, and where its ticks are. */
export interface Axis {
  readonly low: number;
  readonly high: number;
  readonly ticks: readonly number[];
  /** A tick's number, with as many digits as the ticks need. */
  label(tick: number): string;
}

/** Ticks at 1, 2 or 5 times a power of ten, about `wanted` of them. `isWide`: the range ends at ticks. */
export function axis(low: number, high: number, wanted: number, isWide: boolean): Axis {
  const raw = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(raw));
  const spacing = power * (raw / power > 5 ? 10 : raw / power > 2 ? 5 : raw / power > 1 ? 2 : 1);
  // A limit that is a tick but for rounding is that tick.
  const first = isWide ? Math.floor(low / spacing + 1e-9) : Math.ceil(low / spacing - 1e-9);
  const last = isWide ? Math.ceil(high / spacing - 1e-9) : Math.floor(high / spacing + 1e-9);
  const ticks = Array.from({ length: last - first + 1 }, (_, i) => (first + i) * spacing);
  const digits = Math.max(0, -Math.floor(Math.log10(spacing) + 1e-9));
  return {
    low: isWide ? ticks[0]! : low,
    high: isWide ? ticks.at(-1)! : high,
    ticks,
    label: (tick) => tick.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits }),
  };
}

/** Of steps: whole numbers. */
export function stepAxis(last: number): Axis {
  const { ticks, label, ...range } = axis(0, Math.max(1, last), Math.min(8, Math.max(1, last)), false);
  return { ...range, ticks, label };
}

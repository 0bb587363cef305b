/** How long rows are, in tokens. */
export interface LengthReport {
  readonly shortest: number;
  readonly median: number;
  /** 99 % of the rows are no longer. */
  readonly p99: number;
  readonly longest: number;
  /** Equally wide, in order; the last also counts what is longer. */
  readonly bins: readonly LengthBin[];
}

export interface LengthBin {
  /** Tokens, included. */
  readonly from: number;
  readonly to: number;
  readonly rows: number;
}

const mostBins = 10;

/** @param lengths one at least */
export function lengthReport(lengths: readonly number[]): LengthReport {
  const sorted = Int32Array.from(lengths).sort();
  const longest = sorted.at(-1)!;
  const p99 = shareOf(sorted, 0.99);
  return { shortest: sorted[0]!, median: shareOf(sorted, 0.5), p99, longest, bins: binsOf(sorted, p99) };
}

/** The least length that this share of the rows does not exceed. */
export function lengthHolding(lengths: readonly number[], share: number): number {
  return shareOf(Int32Array.from(lengths).sort(), share);
}

function shareOf(sorted: Int32Array, share: number): number {
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]!;
}

/** A few very long rows are counted in the last bin: they would leave one bin for all others. */
function binsOf(sorted: Int32Array, p99: number): LengthBin[] {
  const width = niceWidth(p99 / mostBins);
  const count = Math.max(1, Math.ceil((p99 + 1) / width));
  const rows = new Array<number>(count).fill(0);
  for (const length of sorted) rows[Math.min(count - 1, Math.floor(length / width))]! += 1;
  const bins = rows.map((found, i) => ({ from: i * width, to: (i + 1) * width - 1, rows: found }));
  bins[count - 1]!.to = Math.max(bins[count - 1]!.to, sorted.at(-1)!);
  return bins.slice(bins.findIndex((bin) => bin.rows > 0));
}

/** 1, 2 or 5 times a power of ten, at least `width`. */
function niceWidth(width: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, width)));
  return [1, 2, 5, 10].map((factor) => factor * power).find((nice) => nice >= width)!;
}

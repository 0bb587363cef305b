/** A step and its loss. */
export type Point = readonly [step: number, loss: number];

/** At most `most` points, of each bucket the lowest and the highest, in their order: no spike is lost. */
export function extremes(points: readonly Point[], most: number): readonly Point[] {
  if (points.length <= most) return points;
  return buckets(points, Math.floor(most / 2)).flatMap((bucket) => {
    let [low, high] = [0, 0];
    for (let at = 1; at < bucket.length; at++) {
      if (bucket[at]![1] < bucket[low]![1]) low = at;
      if (bucket[at]![1] > bucket[high]![1]) high = at;
    }
    return low === high ? [bucket[low]!] : [bucket[Math.min(low, high)]!, bucket[Math.max(low, high)]!];
  });
}

/** At most `most` points, of each bucket the last one. */
export function lasts(points: readonly Point[], most: number): readonly Point[] {
  return points.length <= most ? points : buckets(points, most).map((bucket) => bucket.at(-1)!);
}

/**
 * Exponential moving average over some `window` steps, its beginning corrected as Adam's moments are, so that the first point
 * is the first loss.
 */
export function smoothed(points: readonly Point[], window: number): Point[] {
  const keep = 1 - 1 / Math.max(1, window);
  let [sum, weight] = [0, 0];
  return points.map(([step, loss]) => {
    sum = keep * sum + (1 - keep) * loss;
    weight = keep * weight + (1 - keep);
    return [step, sum / weight];
  });
}

function buckets(points: readonly Point[], count: number): readonly Point[][] {
  const start = (bucket: number) => Math.floor((bucket * points.length) / count);
  return Array.from({ length: count }, (_, i) => points.slice(start(i), start(i + 1)));
}

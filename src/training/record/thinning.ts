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
 * Mean over some `window` steps around each one, over fewer near the ends, as many on either side: it lags behind nothing, and
 * a straight line stays what it is.
 */
export function smoothed(points: readonly Point[], window: number): Point[] {
  const sums = new Float64Array(points.length + 1);
  for (const [i, [, loss]] of points.entries()) sums[i + 1] = sums[i]! + loss;
  const widest = Math.max(0, Math.floor((window - 1) / 2));
  return points.map(([step], i) => {
    const beside = Math.min(widest, i, points.length - 1 - i);
    return [step, (sums[i + beside + 1]! - sums[i - beside]!) / (2 * beside + 1)];
  });
}

function buckets(points: readonly Point[], count: number): readonly Point[][] {
  const start = (bucket: number) => Math.floor((bucket * points.length) / count);
  return Array.from({ length: count }, (_, i) => points.slice(start(i), start(i + 1)));
}

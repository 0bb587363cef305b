import type { Ranks } from "../../engine/engine.ts";
import type { Example } from "../examples.ts";

/**
 * The part of a step's examples that is this rank's. All ranks deal alike, the longest examples first, each to the rank
 * that has the fewest tokens yet, so that none waits long for another. It may be none.
 */
export function shareOf(examples: readonly Example[], { rank, size }: Pick<Ranks, "rank" | "size">): Example[] {
  if (size === 1) return [...examples];
  const byLength = [...examples.keys()].sort(
    (a, b) => examples[b]!.tokens.length - examples[a]!.tokens.length || a - b,
  );
  const dealt = Array.from({ length: size }, () => 0);
  const mine: number[] = [];
  for (const i of byLength) {
    const to = dealt.indexOf(Math.min(...dealt));
    dealt[to]! += examples[i]!.tokens.length;
    if (to === rank) mine.push(i);
  }
  return mine.sort((a, b) => a - b).map((i) => examples[i]!);
}

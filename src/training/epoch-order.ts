import type { Example } from "./examples.ts";
import { permutation, RandomStream } from "./random.ts";

/** The examples in the order of an epoch, counted from 0: shuffled anew for each, or as they lie in the file. */
export function epochOrder(
  training: readonly Example[],
  { seed, order, epoch }: { seed: number; order?: "shuffled" | "file" | undefined; epoch: number },
): readonly Example[] {
  if (order === "file") return training;
  return Array.from(permutation(training.length, new RandomStream(seed, "shuffle", epoch)), (i) => training[i]!);
}

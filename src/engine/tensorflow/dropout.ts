import { type LinearName, linearNames } from "../config.ts";
import type { Dropout } from "../engine.ts";
import { philox4x32, split64, unitInterval } from "../philox.ts";

/**
 * The mask [rows, cols] of one adapted module: 0, or 1 / (1 - p) where kept. Bit for bit the mask that the native
 * engine draws (native/kernels/dropout.h): counter = (element / 4, module, step), lane = element mod 4.
 */
export function dropoutMask(
  { probability, seed, step }: Dropout,
  layer: number,
  linear: LinearName,
  rows: number,
  cols: number,
): Float32Array {
  const mask = new Float32Array(rows * cols);
  const p = Math.fround(probability);
  const kept = Math.fround(1 / Math.fround(1 - p));
  const module = layer * linearNames.length + linearNames.indexOf(linear);
  const [keyLow, keyHigh] = split64(seed);
  for (let element = 0; element < mask.length; element += 4) {
    const [groupLow, groupHigh] = split64(element / 4);
    const words = philox4x32([groupLow, groupHigh, module, step], keyLow, keyHigh);
    for (let lane = 0; lane < 4 && element + lane < mask.length; lane++) {
      mask[element + lane] = unitInterval(words[lane]!) >= p ? kept : 0;
    }
  }
  return mask;
}

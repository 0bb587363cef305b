/**
 * Philox 4x32 with 10 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): random numbers as
 * a pure function of (key, counter). native/kernels/dropout.h is its twin; both must give the same words.
 */
export type PhiloxWords = [number, number, number, number];

/** Upper 32 bits of the 64-bit product of two unsigned 32-bit numbers. */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const carry = aLow * bHigh + (middle & 0xffff);
  return (aHigh * bHigh + (middle >>> 16) + (carry >>> 16)) >>> 0;
}

/** Four 32-bit words for a counter of four 32-bit words under a 64-bit key. */
export function philox4x32(counter: Readonly<PhiloxWords>, keyLow: number, keyHigh: number): PhiloxWords {
  let [c0, c1, c2, c3] = counter.map((word) => word >>> 0) as PhiloxWords;
  let k0 = keyLow >>> 0;
  let k1 = keyHigh >>> 0;
  for (let round = 0; round < 10; round++) {
    const highA = multiplyHigh(0xd2511f53, c0);
    const lowA = Math.imul(0xd2511f53, c0) >>> 0;
    const highB = multiplyHigh(0xcd9e8d57, c2);
    const lowB = Math.imul(0xcd9e8d57, c2) >>> 0;
    c0 = (highB ^ c1 ^ k0) >>> 0;
    c1 = lowB;
    c2 = (highA ^ c3 ^ k1) >>> 0;
    c3 = lowA;
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  return [c0, c1, c2, c3];
}

/** The two 32-bit halves of a safe integer >= 0. */
export function split64(value: number): [low: number, high: number] {
  return [value >>> 0, Math.floor(value / 2 ** 32) >>> 0];
}

/** [0, 1) with 24 bits: every result is a float32. */
export function unitInterval(word: number): number {
  return (word >>> 8) * 2 ** -24;
}

/** Frobenius norms of a pair's factors and of their product. */
export interface PairNorms {
  readonly a: number;
  readonly b: number;
  readonly product: number;
}

/**
 * The product [out, in] is never made: ‖B A‖² = Σ (BᵀB) ∘ (A Aᵀ), two matrices of [rank, rank].
 * @param a [rank, in] @param b [out, rank]
 */
export function pairNorms(a: Float32Array, b: Float32Array, rank: number): PairNorms {
  const inner = a.length / rank;
  const outer = b.length / rank;
  let [product, squareA, squareB] = [0, 0, 0];
  for (let p = 0; p < rank; p++) {
    for (let q = p; q < rank; q++) {
      let [dotA, dotB] = [0, 0];
      for (let j = 0; j < inner; j++) dotA += a[p * inner + j]! * a[q * inner + j]!;
      for (let i = 0; i < outer; i++) dotB += b[i * rank + p]! * b[i * rank + q]!;
      product += (p === q ? 1 : 2) * dotA * dotB;
      if (p !== q) continue;
      squareA += dotA;
      squareB += dotB;
    }
  }
  // Rounding may leave a sum of cancelling terms below zero.
  return { a: Math.sqrt(squareA), b: Math.sqrt(squareB), product: Math.sqrt(Math.max(0, product)) };
}

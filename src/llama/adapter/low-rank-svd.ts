/** Factors of a matrix of low rank, float64, row-major: left [rows, rank], right [rank, columns]. */
export interface Factors {
  readonly rows: number;
  readonly columns: number;
  readonly rank: number;
  readonly left: Float64Array;
  readonly right: Float64Array;
}

/**
 * The best approximation of `left` `right` with `rank` terms (Eckart-Young), as PEFT splits it: left = U S, right = Vᵀ. The
 * product itself is never made: both factors are reduced to R by QR, and what is left is an SVD of [rank, rank].
 * Missing terms (a matrix of smaller rank) are zero.
 */
export function truncatedSvd({ rows, columns, rank, left, right }: Factors, wanted: number): Factors {
  const outer = thinQr(left, rows, rank);
  const inner = thinQr(transposed(right, rank, columns), columns, rank);
  // left right = Q₁ (R₁ R₂ᵀ) Q₂ᵀ
  const core = product(outer.r, transposed(inner.r, inner.rank, rank), outer.rank, rank, inner.rank);
  const { u, values, v } = jacobiSvd(core, outer.rank, inner.rank);
  const found = Math.min(wanted, values.length);
  const newLeft = new Float64Array(rows * wanted);
  const newRight = new Float64Array(wanted * columns);
  for (let k = 0; k < found; k++) {
    for (let i = 0; i < rows; i++) {
      let sum = 0;
      for (let j = 0; j < outer.rank; j++) sum += outer.q[i * outer.rank + j]! * u[j * values.length + k]!;
      newLeft[i * wanted + k] = sum * values[k]!;
    }
    for (let i = 0; i < columns; i++) {
      let sum = 0;
      for (let j = 0; j < inner.rank; j++) sum += inner.q[i * inner.rank + j]! * v[j * values.length + k]!;
      newRight[k * columns + i] = sum;
    }
  }
  return { rows, columns, rank: wanted, left: newLeft, right: newRight };
}

/** Q [rows, rank] with orthonormal columns and R [rank, columns], rank = min(rows, columns). Householder's method. */
function thinQr(
  matrix: Float64Array,
  rows: number,
  columns: number,
): { q: Float64Array; r: Float64Array; rank: number } {
  const rank = Math.min(rows, columns);
  const work = Float64Array.from(matrix);
  const reflectors: Float64Array[] = [];
  for (let k = 0; k < rank; k++) {
    const v = new Float64Array(rows - k);
    let norm = 0;
    for (let i = k; i < rows; i++) {
      v[i - k] = work[i * columns + k]!;
      norm = Math.hypot(norm, v[i - k]!);
    }
    v[0]! += v[0]! >= 0 ? norm : -norm;
    reflect(work, columns, k, k, v);
    reflectors.push(v);
  }
  const r = new Float64Array(rank * columns);
  for (let i = 0; i < rank; i++) for (let j = i; j < columns; j++) r[i * columns + j] = work[i * columns + j]!;
  const q = new Float64Array(rows * rank);
  for (let i = 0; i < rank; i++) q[i * rank + i] = 1;
  for (let k = rank - 1; k >= 0; k--) reflect(q, rank, k, 0, reflectors[k]!);
  return { q, r, rank };
}

/** Applies I - 2 v vᵀ / vᵀv to the rows from `first` on, columns from `from` on. */
function reflect(matrix: Float64Array, columns: number, first: number, from: number, v: Float64Array): void {
  let square = 0;
  for (const value of v) square += value * value;
  if (square === 0) return;
  const dots = new Float64Array(columns);
  for (let i = 0; i < v.length; i++) {
    for (let j = from; j < columns; j++) dots[j]! += v[i]! * matrix[(first + i) * columns + j]!;
  }
  for (let i = 0; i < v.length; i++) {
    const factor = (2 * v[i]!) / square;
    for (let j = from; j < columns; j++) matrix[(first + i) * columns + j]! -= factor * dots[j]!;
  }
}

/**
 * Singular values, largest first, u [rows, n] and v [columns, n]. One-sided Jacobi (Hestenes 1958): rotations of columns
 * until all are orthogonal; exact to the last places for small matrices.
 */
function jacobiSvd(matrix: Float64Array, rows: number, columns: number) {
  const work = Float64Array.from(matrix);
  const v = new Float64Array(columns * columns);
  for (let i = 0; i < columns; i++) v[i * columns + i] = 1;
  const mostSweeps = 60;
  for (let sweep = 0, rotated = true; rotated && sweep < mostSweeps; sweep++) {
    rotated = false;
    for (let p = 0; p < columns; p++) {
      for (let q = p + 1; q < columns; q++) rotated = rotate(work, v, rows, columns, p, q) || rotated;
    }
  }
  const norms = Array.from({ length: columns }, (_, j) => {
    let norm = 0;
    for (let i = 0; i < rows; i++) norm = Math.hypot(norm, work[i * columns + j]!);
    return norm;
  });
  const order = norms.map((_, j) => j).sort((a, b) => norms[b]! - norms[a]!);
  const values = Float64Array.from(order, (j) => norms[j]!);
  const u = new Float64Array(rows * columns);
  const sorted = new Float64Array(columns * columns);
  for (const [k, j] of order.entries()) {
    for (let i = 0; i < rows; i++) u[i * columns + k] = norms[j]! === 0 ? 0 : work[i * columns + j]! / norms[j]!;
    for (let i = 0; i < columns; i++) sorted[i * columns + k] = v[i * columns + j]!;
  }
  return { u, values, v: sorted };
}

/** Makes two columns orthogonal; false where they are already. */
function rotate(work: Float64Array, v: Float64Array, rows: number, columns: number, p: number, q: number): boolean {
  let [pp, qq, pq] = [0, 0, 0];
  for (let i = 0; i < rows; i++) {
    const [x, y] = [work[i * columns + p]!, work[i * columns + q]!];
    pp += x * x;
    qq += y * y;
    pq += x * y;
  }
  if (Math.abs(pq) <= 1e-15 * Math.sqrt(pp * qq)) return false;
  const zeta = (qq - pp) / (2 * pq);
  const t = Math.sign(zeta || 1) / (Math.abs(zeta) + Math.hypot(1, zeta));
  const c = 1 / Math.hypot(1, t);
  const s = c * t;
  for (const [matrix, count] of [
    [work, rows],
    [v, columns],
  ] as const) {
    for (let i = 0; i < count; i++) {
      const [x, y] = [matrix[i * columns + p]!, matrix[i * columns + q]!];
      matrix[i * columns + p] = c * x - s * y;
      matrix[i * columns + q] = s * x + c * y;
    }
  }
  return true;
}

function transposed(matrix: Float64Array, rows: number, columns: number): Float64Array {
  const result = new Float64Array(matrix.length);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) result[j * rows + i] = matrix[i * columns + j]!;
  return result;
}

/** [rows, inner] x [inner, columns] */
function product(a: Float64Array, b: Float64Array, rows: number, inner: number, columns: number): Float64Array {
  const result = new Float64Array(rows * columns);
  for (let i = 0; i < rows; i++) {
    for (let k = 0; k < inner; k++) {
      const factor = a[i * inner + k]!;
      for (let j = 0; j < columns; j++) result[i * columns + j]! += factor * b[k * columns + j]!;
    }
  }
  return result;
}

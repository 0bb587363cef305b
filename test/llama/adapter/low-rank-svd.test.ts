import { describe, expect, it } from "vitest";
import { type Factors, truncatedSvd } from "../../../src/llama/adapter/low-rank-svd.ts";

function factors(rows: number, columns: number, rank: number): Factors {
  let n = 0;
  const fill = (length: number) => Float64Array.from({ length }, () => Math.sin(1.7 * n++) + 0.2 * Math.cos(n * n));
  return { rows, columns, rank, left: fill(rows * rank), right: fill(rank * columns) };
}

function productOf({ rows, columns, rank, left, right }: Factors): number[] {
  return Array.from({ length: rows * columns }, (_, i) => {
    let sum = 0;
    for (let k = 0; k < rank; k++) {
      sum += left[Math.floor(i / columns) * rank + k]! * right[k * columns + (i % columns)]!;
    }
    return sum;
  });
}

const distance = (a: readonly number[], b: readonly number[]) =>
  Math.max(...a.map((value, i) => Math.abs(value - b[i]!)));

describe("the decomposition of a low-rank product", () => {
  it.each([
    [12, 20, 3],
    [20, 12, 3],
    [5, 30, 9],
    [30, 5, 9],
    [1, 7, 2],
  ])("gives the product back with all of its rank, [%i, %i] of rank %i", (rows, columns, rank) => {
    const given = factors(rows, columns, rank);
    const found = truncatedSvd(given, rank);
    expect(distance(productOf(found), productOf(given))).toBeLessThan(1e-12);
  });

  it("has orthonormal rows on the right, orthogonal columns on the left, the longest first", () => {
    const { left, right, rows, columns, rank } = truncatedSvd(factors(12, 20, 4), 4);
    const lengths: number[] = [];
    for (let k = 0; k < rank; k++) {
      for (let l = 0; l < rank; l++) {
        let [dot, across] = [0, 0];
        for (let j = 0; j < columns; j++) dot += right[k * columns + j]! * right[l * columns + j]!;
        for (let i = 0; i < rows; i++) across += left[i * rank + k]! * left[i * rank + l]!;
        expect(Math.abs(dot - (k === l ? 1 : 0))).toBeLessThan(1e-13);
        if (k === l) lengths.push(across);
        else expect(Math.abs(across)).toBeLessThan(1e-12);
      }
    }
    expect(lengths).toEqual(lengths.toSorted((a, b) => b - a));
  });

  it("leaves out the smallest singular values", () => {
    const given = factors(12, 20, 4);
    const whole = truncatedSvd(given, 4);
    let last = 0;
    for (let i = 0; i < 12; i++) last += whole.left[i * 4 + 3]! ** 2;
    const cut = productOf(truncatedSvd(given, 3));
    const error = Math.sqrt(productOf(given).reduce((sum, value, i) => sum + (value - cut[i]!) ** 2, 0));
    expect(Math.abs(error - Math.sqrt(last))).toBeLessThan(1e-10);
  });

  it("fills terms that the matrix does not have with zeros", () => {
    const given = factors(6, 7, 2);
    const found = truncatedSvd({ ...given, left: given.left.map(() => 0) }, 5);
    expect(productOf(found).every((value) => value === 0)).toBe(true);
    expect(distance(productOf(truncatedSvd(given, 5)), productOf(given))).toBeLessThan(1e-12);
  });
});

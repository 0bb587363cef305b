/**
 * Rows of q or k, [heads * headDim, columns], in place from Meta's order to Hugging Face's: row j of a head is Meta's row 2j
 * in its first half, 2(j - headDim / 2) + 1 in its second.
 * @param rowBytes of one row
 */
export function uninterleave(bytes: Uint8Array, heads: number, rowBytes: number): void {
  const headBytes = bytes.length / heads;
  const half = headBytes / rowBytes / 2;
  for (let start = 0; start < bytes.length; start += headBytes) {
    const head = bytes.slice(start, start + headBytes);
    for (let j = 0; j < half; j++) {
      const even = 2 * j * rowBytes;
      bytes.set(head.subarray(even, even + rowBytes), start + j * rowBytes);
      bytes.set(head.subarray(even + rowBytes, even + 2 * rowBytes), start + (half + j) * rowBytes);
    }
  }
}

/** Writes one part of a matrix's columns: `columns` bytes of each row, from byte `first` on, of rows of `rowBytes`. */
export function putColumns(
  whole: Uint8Array,
  part: Uint8Array,
  first: number,
  columns: number,
  rowBytes: number,
): void {
  for (let from = 0, to = first; from < part.length; from += columns, to += rowBytes) {
    whole.set(part.subarray(from, from + columns), to);
  }
}

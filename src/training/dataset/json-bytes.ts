// Bytes that JSON's structure is made of.

export const [tab, newline, carriageReturn, space] = [0x09, 0x0a, 0x0d, 0x20] as const;
export const [quote, comma, colon, backslash] = [0x22, 0x2c, 0x3a, 0x5c] as const;
export const [openBracket, closeBracket, openBrace, closeBrace] = [0x5b, 0x5d, 0x7b, 0x7d] as const;

export function isSpace(byte: number): boolean {
  return byte === space || byte === newline || byte === carriageReturn || byte === tab;
}

/** Place of the first byte that is no white space; the end where there is none. */
export function skipSpace(bytes: Buffer, from: number): number {
  let at = from;
  while (at < bytes.length && isSpace(bytes[at]!)) at++;
  return at;
}

/** Lines that end in these bytes. */
export function linesIn(bytes: Buffer): number {
  let count = 0;
  for (let at = bytes.indexOf(newline); at >= 0; at = bytes.indexOf(newline, at + 1)) count++;
  return count;
}

/** A byte as messages show it. */
export function shownByte(byte: number): string {
  return byte >= 0x20 && byte < 0x7f ? JSON.stringify(String.fromCharCode(byte)) : `byte 0x${byte.toString(16)}`;
}

/**
 * Looks at the character that starts at bytes[start], within bytes[start .. end).
 * n > 0: a whole character of n bytes. 0: the bytes so far are the beginning of one. n < 0: no character; -n bytes
 * are its longest beginning that was still possible (Unicode 15, 3.9, "maximal subpart").
 */
export function measureUtf8(bytes: Uint8Array, start: number, end: number): number {
  const lead = bytes[start]!;
  if (lead < 0x80) return 1;
  if (lead < 0xc2 || lead > 0xf4) return -1;
  const length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  // The second byte rules out overlong forms, surrogates and what lies beyond U+10FFFF.
  let low = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
  let high = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
  for (let i = 1; i < length; i++) {
    if (start + i >= end) return 0;
    const byte = bytes[start + i]!;
    if (byte < low || byte > high) return -i;
    low = 0x80;
    high = 0xbf;
  }
  return length;
}

/** The code point of a whole character of `length` bytes, as measured by measureUtf8. */
export function codePointAt(bytes: Uint8Array, start: number, length: number): number {
  const lead = bytes[start]!;
  if (length === 1) return lead;
  let value = lead & (0x7f >> length);
  for (let i = 1; i < length; i++) value = (value << 6) | (bytes[start + i]! & 0x3f);
  return value;
}

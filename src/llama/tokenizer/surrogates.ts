/** Whether a UTF-16 unit is the first of the two of a character beyond U+FFFF. */
export function isHighSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit < 0xdc00;
}

export function isLowSurrogate(unit: number): boolean {
  return unit >= 0xdc00 && unit < 0xe000;
}

/** UTF-16 units of the code point at `index`; `text` is well-formed. */
export function characterLength(text: string, index: number): 1 | 2 {
  return isHighSurrogate(text.charCodeAt(index)) ? 2 : 1;
}

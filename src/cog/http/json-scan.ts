/** Bounds of one JSON text, whatever its size in bytes: what parsing costs is in its values and keys. */
export interface JsonLimits {
  readonly values: number;
  readonly keys: number;
  readonly depth: number;
}

export interface JsonScan {
  /** A `\u` escape of a surrogate is there, which may be half a pair. */
  readonly hasSurrogateEscape: boolean;
  /** A number is there that may be too large for a float64. */
  readonly mayOverflow: boolean;
  /** The keys of the outermost object as they are written, quotes included: begin and end in bytes. */
  readonly outermostKeys: readonly (readonly [number, number])[];
}

/** The text holds more than is allowed. */
export class JsonTooLarge extends Error {}

const quote = 0x22;
const backslash = 0x5c;
const [comma, colon, zero, nine] = [0x2c, 0x3a, 0x30, 0x39];
const [openBracket, closeBracket, openBrace, closeBrace] = [0x5b, 0x5d, 0x7b, 0x7d];
/** Fewer than 200 digits with an exponent of two, at most 10^299, are finite in a float64. */
const [longExponent, longNumber] = [3, 200];

/**
 * Looks over the bytes of a JSON text before it is parsed, in one linear pass. Of text that is no JSON it says nothing
 * useful, but takes no longer.
 * @throws JsonTooLarge naming the limit that is exceeded
 */
export function scanJson(bytes: Buffer, limits: JsonLimits): JsonScan {
  const outermostKeys: [number, number][] = [];
  let [values, keys, depth] = [1, 0, 0];
  let mayOverflow = false;
  /** The outermost value. */
  let isObject = false;
  let isKeyNext = false;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at]!;
    if (byte === quote) {
      const end = endOfString(bytes, at);
      if (depth === 1 && isKeyNext) outermostKeys.push([at, end + 1]);
      isKeyNext = false;
      at = end;
    } else if (byte >= zero && byte <= nine) {
      const end = endOfDigits(bytes, at);
      const isLong = end - at >= longNumber || (end - at >= longExponent && followsExponent(bytes, at));
      mayOverflow ||= isLong;
      at = end - 1;
    } else if (byte === comma) {
      values += 1;
      isKeyNext = depth === 1 && isObject;
    } else if (byte === colon) keys += 1;
    else if (byte === openBrace || byte === openBracket) {
      depth += 1;
      values += 1;
      if (depth === 1) isObject = byte === openBrace;
      isKeyNext = depth === 1 && isObject;
      if (depth > limits.depth) throw new JsonTooLarge(`the body is nested deeper than ${limits.depth} levels`);
    } else if (byte === closeBrace || byte === closeBracket) depth -= 1;
    if (values > limits.values) throw new JsonTooLarge(`the body holds more than ${limits.values} values`);
    if (keys > limits.keys) throw new JsonTooLarge(`the body holds more than ${limits.keys} keys`);
  }
  // A search for one byte is quick, and mostly finds none.
  const hasSurrogateEscape = bytes.includes(backslash) && (bytes.includes("\\ud") || bytes.includes("\\uD"));
  return { hasSurrogateEscape, mayOverflow, outermostKeys };
}

/** Where the string that begins at `start` ends: its closing quote, or the last byte. */
function endOfString(bytes: Buffer, start: number): number {
  for (let at = start + 1; ; ) {
    // Strings are most of a large body, and this search is native.
    const end = bytes.indexOf(quote, at);
    if (end < 0) return bytes.length - 1;
    let escapes = 0;
    while (bytes[end - 1 - escapes] === backslash && end - 1 - escapes > start) escapes += 1;
    if (escapes % 2 === 0) return end;
    at = end + 1;
  }
}

function endOfDigits(bytes: Buffer, start: number): number {
  let end = start + 1;
  while (bytes[end]! >= zero && bytes[end]! <= nine) end += 1;
  return end;
}

/** The digits at `start` are an exponent that makes a number larger. */
function followsExponent(bytes: Buffer, start: number): boolean {
  const before = bytes[start - 1] === 0x2b ? start - 2 : start - 1;
  return bytes[before] === 0x65 || bytes[before] === 0x45;
}

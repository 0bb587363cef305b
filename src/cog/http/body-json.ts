/** Text that JSON.parse takes but Cog's reader does not, or the other way round, is told apart here. */
export class JsonError extends Error {}

const deepest = 128;
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const surrogateEscape = /\\u[dD][89a-fA-F]/;
/** Three digits of exponent, or three hundred of anything: only then a number may be out of range. */
const hugeNumber = /[eE]\+?\d{3}|\d{300}/;

/**
 * Parses a body: UTF-8 without byte order mark, whole surrogate pairs, finite numbers, at most 128 levels.
 * @throws JsonError
 */
export function parseBodyJson(bytes: Buffer): { value: unknown; text: string } {
  let text: string;
  let value: unknown;
  try {
    text = decoder.decode(bytes);
    value = JSON.parse(text);
  } catch {
    // The reader's own message would quote the body, which may hold secrets.
    throw new JsonError("the body is not JSON in UTF-8");
  }
  const suspicious = surrogateEscape.test(text) || hugeNumber.test(text);
  checkValue(value, 1, suspicious);
  return { value, text };
}

function checkValue(value: unknown, depth: number, suspicious: boolean): void {
  if (typeof value === "object" && value !== null) {
    if (depth > deepest) throw new JsonError(`the body is nested deeper than ${deepest} levels`);
    if (Array.isArray(value)) for (const item of value) checkValue(item, depth + 1, suspicious);
    else {
      for (const [key, item] of Object.entries(value)) {
        if (suspicious) checkText(key);
        checkValue(item, depth + 1, suspicious);
      }
    }
  } else if (suspicious) {
    if (typeof value === "string") checkText(value);
    if (typeof value === "number" && !Number.isFinite(value)) throw new JsonError("a number is out of range");
  }
}

function checkText(text: string): void {
  if (/\p{Surrogate}/u.test(text)) throw new JsonError("half a surrogate pair");
}

/** The keys of the outermost object, repeated ones too. The text must be valid JSON. */
export function outermostKeys(text: string): string[] {
  const keys: string[] = [];
  let depth = 0;
  let isKey = false;
  for (let at = 0; at < text.length; at++) {
    const char = text[at];
    if (char === '"') {
      const start = at;
      for (at++; text[at] !== '"'; at++) if (text[at] === "\\") at++;
      if (depth === 1 && isKey) keys.push(JSON.parse(text.slice(start, at + 1)) as string);
      isKey = false;
    } else if (char === "{" || char === "[") {
      depth += 1;
      isKey = depth === 1;
    } else if (char === "}" || char === "]") depth -= 1;
    else if (char === "," && depth === 1) isKey = true;
  }
  return keys;
}

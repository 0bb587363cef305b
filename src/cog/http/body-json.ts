import { type JsonLimits, type JsonScan, JsonTooLarge, scanJson } from "./json-scan.ts";

/** Text that JSON.parse takes but Cog's reader does not, or the other way round, is told apart here. */
export class JsonError extends Error {}

export interface BodyJson {
  readonly value: unknown;
  /** The keys of the outermost object, repeated ones too. */
  readonly outermostKeys: readonly string[];
}

export const defaultLimits: JsonLimits = { values: 200_000, keys: 50_000, depth: 128 };

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Parses a body: UTF-8 without byte order mark, whole surrogate pairs, finite numbers, within `limits`. Linear in the
 * bytes.
 * @throws JsonError
 */
export function parseBodyJson(bytes: Buffer, limits = defaultLimits): BodyJson {
  const scan = scanned(bytes, limits);
  let value: unknown;
  try {
    value = JSON.parse(decoder.decode(bytes));
  } catch {
    // The reader's own message would quote the body, which may hold secrets.
    throw new JsonError("the body is not JSON in UTF-8");
  }
  if (scan.hasSurrogateEscape || scan.mayOverflow) checkValue(value);
  return { value, outermostKeys: outermostKeys(bytes, value, scan.outermostKeys) };
}

function outermostKeys(bytes: Buffer, value: unknown, written: JsonScan["outermostKeys"]): readonly string[] {
  if (written.length === 0) return [];
  const keys = Object.keys(value as object);
  // Only where one is repeated are there fewer.
  if (keys.length === written.length) return keys;
  return written.map(([start, end]) => JSON.parse(bytes.toString("utf8", start, end)));
}

function scanned(bytes: Buffer, limits: JsonLimits): JsonScan {
  try {
    return scanJson(bytes, limits);
  } catch (error) {
    if (error instanceof JsonTooLarge) throw new JsonError(error.message);
    throw error;
  }
}

function checkValue(value: unknown): void {
  if (typeof value === "string") checkText(value);
  else if (typeof value === "number") {
    if (!Number.isFinite(value)) throw new JsonError("a number is out of range");
  } else if (Array.isArray(value)) for (const item of value) checkValue(item);
  else if (value !== null && typeof value === "object") {
    for (const [key, item] of Object.entries(value)) {
      checkText(key);
      checkValue(item);
    }
  }
}

function checkText(text: string): void {
  if (/\p{Surrogate}/u.test(text)) throw new JsonError("half a surrogate pair");
}

import { checkBounds } from "../../llama/bounded-json.ts";
import { linesIn } from "./json-bytes.ts";
import { quoted } from "./problems.ts";
import type { RawRecord } from "./records.ts";

/** Of one row, in columns that are not read. */
const mostRowValues = 10_000;

/** A record's value, or what is wrong with its text. */
export type ParsedRecord = { readonly value: unknown } | { readonly wrong: string; readonly remedy?: string };

/** Parses a record; a key that one object has twice is refused, where JSON.parse takes the last one silently. */
export function parseRecord({ json }: RawRecord): ParsedRecord {
  const text = json.toString("utf8");
  let value: unknown;
  let members: number;
  try {
    members = checkBounds(text, mostRowValues);
    value = JSON.parse(text);
  } catch (error) {
    return { wrong: `is not valid JSON: ${placed((error as Error).message, json)}` };
  }
  if (members === membersOf(value)) return { value };
  const keys = repeatedKeys(text);
  const shown = keys.slice(0, 5).map(quoted).join(", ");
  return {
    wrong: `has ${keys.length === 1 ? "a key" : "keys"} twice in one object: ${shown}`,
    remedy: "Keep one of each.",
  };
}

/** V8 names places by their character of the record, and quotes long texts. */
function placed(message: string, json: Buffer): string {
  const [, what, position] = /^(.*?)(?: in JSON)? at position (\d+)/s.exec(message) ?? [];
  if (what === undefined) return message;
  const before = Buffer.from(json.toString("utf8").slice(0, Number(position)));
  const line = linesIn(before);
  return `${what} at character ${Number(position) + 1} of the record${line > 0 ? `, in its line ${line + 1}` : ""}`;
}

/** Place of the quotation mark that ends the string, in valid JSON. */
function endOfString(text: string, start: number): number {
  let at = start + 1;
  for (; text.charCodeAt(at) !== 0x22; at++) if (text.charCodeAt(at) === 0x5c) at++;
  return at;
}

/** Members of all objects in a value. */
function membersOf(value: unknown): number {
  if (typeof value !== "object" || value === null) return 0;
  let count = 0;
  if (Array.isArray(value)) for (const item of value) count += membersOf(item);
  else
    for (const key of Object.keys(value)) {
      const member = (value as Record<string, unknown>)[key];
      count += typeof member === "object" ? 1 + membersOf(member) : 1;
    }
  return count;
}

/** Keys that one object of a valid JSON text has twice. */
function repeatedKeys(text: string): string[] {
  const repeated = new Set<string>();
  const open: Set<string>[] = [];
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (character === "{" || character === "[") open.push(new Set());
    else if (character === "}" || character === "]") open.pop();
    else if (character === '"') {
      const start = at;
      at = endOfString(text, at);
      if (!isKey(text, at + 1)) continue;
      const key: string = JSON.parse(text.slice(start, at + 1));
      const keys = open.at(-1)!;
      if (keys.has(key)) repeated.add(key);
      keys.add(key);
    }
  }
  return [...repeated];
}

/** Whether a colon follows, behind white space. */
function isKey(text: string, from: number): boolean {
  let at = from;
  while (" \t\n\r".includes(text[at] ?? "x")) at++;
  return text[at] === ":";
}

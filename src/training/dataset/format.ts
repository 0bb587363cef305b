import type { Fields } from "./columns.ts";
import {
  backslash,
  closeBrace,
  closeBracket,
  colon,
  comma,
  newline,
  openBrace,
  openBracket,
  quote,
  skipSpace,
} from "./json-bytes.ts";
import { quoted, Unreadable } from "./problems.ts";

/** What a file's beginning says of its format. */
export type Format =
  /** Objects on a line each, or one after the other on any lines. */
  | { readonly kind: "lines" | "objects"; readonly start: number }
  /** An array, alone or the list within an object under `key`; its bracket is at `start`. */
  | { readonly kind: "array"; readonly start: number; readonly key: string | null }
  | { readonly kind: "table" };

/** Bytes that are looked at to tell a format. */
export const formatBytes = 64 * 1024;

/** Names under which a list of rows is found in an object, whatever else is in it. */
const listNames: ReadonlySet<string> = new Set(["data", "rows", "examples", "train", "instances"]);
/** Lists of objects that are part of one row. */
const rowLists: ReadonlySet<string> = new Set(["messages", "conversations", "conversation", "tools", "functions"]);

/**
 * The format of a file by its first bytes.
 * @param head the first `formatBytes` in UTF-8, or all where there are fewer
 * @param isRowKey whether an object with this key is a row, not what holds rows
 * @throws Unreadable for an object that holds several lists
 */
export function formatOf(head: Buffer, isRowKey: (key: string) => boolean): Format | null {
  const start = skipSpace(head, 0);
  if (start === head.length) return null;
  if (head[start] === openBracket) return { kind: "array", start, key: null };
  if (head[start] !== openBrace) return { kind: "table" };
  const { members, end } = membersOf(head, start);
  const isRow = members.some(({ key }) => isRowKey(key));
  if (!isRow) {
    const lists = members.filter(({ key, list }) => list !== null && (listNames.has(key) || !rowLists.has(key)));
    const isAlone = end === null || skipSpace(head, end) === head.length;
    if (isAlone && lists.length > 1) throw severalLists(lists.map(({ key }) => key));
    const [found] = lists;
    if (isAlone && found !== undefined) return { kind: "array", start: found.list!, key: found.key };
  }
  return { kind: isByLines(head, start, end, isRowKey) ? "lines" : "objects", start };
}

export function severalLists(keys: readonly string[]): Unreadable {
  const shown = keys.slice(0, 5).map(quoted).join(", ");
  return new Unreadable(`holds several lists of rows: ${shown}`, "Put the rows to train on into a file of their own.");
}

interface Member {
  readonly key: string;
  /** Place of the bracket, where the value is a list of objects, or an empty one under a name for rows. */
  readonly list: number | null;
}

/** The members of the object that begins at `start`, as far as the bytes go; its end where that is among them. */
function membersOf(bytes: Buffer, start: number): { members: Member[]; end: number | null } {
  const members: Member[] = [];
  let depth = 0;
  for (let at = start; at < bytes.length; at++) {
    const byte = bytes[at]!;
    if (byte === openBrace || byte === openBracket) depth++;
    else if (byte === closeBrace || byte === closeBracket) {
      if (--depth === 0) return { members, end: at + 1 };
    } else if (byte === quote) {
      const end = endOfString(bytes, at);
      if (end === null) break;
      const after = skipSpace(bytes, end);
      if (depth === 1 && bytes[after] === colon) members.push(memberOf(bytes, at, end, after));
      at = end - 1;
    }
  }
  return { members, end: null };
}

function memberOf(bytes: Buffer, at: number, end: number, colonAt: number): Member {
  let key = "";
  try {
    key = JSON.parse(bytes.toString("utf8", at, end));
  } catch {
    // Said when the row is parsed.
  }
  const value = skipSpace(bytes, colonAt + 1);
  if (bytes[value] !== openBracket) return { key, list: null };
  const first = bytes[skipSpace(bytes, value + 1)];
  return { key, list: first === openBrace || (first === closeBracket && listNames.has(key)) ? value : null };
}

/** Place behind the string that begins at `start`; null where the bytes end before. */
function endOfString(bytes: Buffer, start: number): number | null {
  for (let at = start + 1; at < bytes.length; at++) {
    if (bytes[at] === backslash) at++;
    else if (bytes[at] === quote) return at + 1;
  }
  return null;
}

/** Whether the first object ends with its line, or is broken and another line is an object by itself. */
function isByLines(head: Buffer, start: number, end: number | null, isRowKey: (key: string) => boolean): boolean {
  const lineEnd = head.indexOf(newline, start);
  if (lineEnd < 0) return end !== null && isRest(head, end, head.length);
  if (end !== null && end <= lineEnd) return isRest(head, end, lineEnd);
  if (end !== null && parsed(head.toString("utf8", start, end)) !== null) return false;
  const next = head.indexOf(newline, lineEnd + 1);
  const second = parsed(head.toString("utf8", lineEnd + 1, next < 0 ? head.length : next).replace(/,\s*$/, ""));
  return second !== null && Object.keys(second).some(isRowKey);
}

/** Nothing but a comma and white space. */
function isRest(bytes: Buffer, from: number, to: number): boolean {
  let at = skipSpace(bytes, from);
  if (bytes[at] === comma) at = skipSpace(bytes, at + 1);
  return at >= to;
}

function parsed(text: string): Fields | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : null;
  } catch {
    return null;
  }
}

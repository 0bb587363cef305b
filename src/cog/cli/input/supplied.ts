import { readFile } from "node:fs/promises";
import { Failure, systemErrorText } from "../../../terminal/failure.ts";
import { readStandardInput } from "../../../terminal/streams.ts";

/** Inputs as they stand on the command line: texts by name (a name may be repeated), or the values of a JSON object. */
export type Supplied = { kind: "text"; values: Map<string, string[]> } | { kind: "json"; values: Map<string, unknown> };

/** Reads `-i name=value` words: split at the first `=`, one pair of double quotes around the value removed. */
export function parsePairs(words: readonly string[]): Supplied {
  const values = new Map<string, string[]>();
  for (const word of words) {
    const at = word.indexOf("=");
    if (at < 0) throw new Failure(`Failed to parse input '${word}', expected format is 'name=value'`);
    const name = word.slice(0, at);
    const value = unquoted(word.slice(at + 1));
    const earlier = values.get(name);
    if (earlier) earlier.push(value);
    else values.set(name, [value]);
  }
  return { kind: "text", values };
}

function unquoted(value: string): string {
  return value.length >= 2 && value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value;
}

/** Reads `--json TEXT`, `--json @file`, `--json -` or `--json @-`; the value must be an object. */
export async function parseJson(argument: string): Promise<Supplied> {
  const text = await jsonText(argument);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Failure(`Failed to parse JSON: ${jsonErrorText(error as Error, text)}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new Failure("Failed to parse JSON: an object with one key for each input is expected");
  return { kind: "json", values: new Map(Object.entries(value)) };
}

async function jsonText(argument: string): Promise<string> {
  if (argument === "-" || argument === "@-") return readStandardInput();
  if (!argument.startsWith("@")) return argument;
  const path = argument.slice(1);
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw new Failure(`Failed to read JSON from file "${path}": open ${path}: ${systemErrorText(error)}`);
  }
}

/** Says of a text that stops too early just that; otherwise Node's own words. */
function jsonErrorText({ message }: Error, text: string): string {
  const position = /at position (\d+)/.exec(message)?.[1];
  const cutOff = /end of JSON input|^Unterminated/.test(message) || Number(position) >= text.length;
  return cutOff ? "unexpected end of JSON input" : message;
}

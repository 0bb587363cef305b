import { Failure } from "../../../terminal/failure.ts";
import { quoted } from "../../../terminal/shell.ts";
import { problemsOf } from "./check.ts";
import type { InputFiles } from "./files.ts";
import { fromFile, isListOfValues } from "./from-file.ts";
import { isFile, type Schema } from "./schema.ts";

/** Turns the texts given for one name into the value its schema asks for; what does not fit stays text and fails the check. */
export async function coerced(
  name: string,
  texts: readonly string[],
  schema: Schema | undefined,
  files: InputFiles,
): Promise<unknown> {
  const text = texts[0]!;
  if (schema?.type !== "array") {
    if (texts.length === 1) return single(name, text, schema, files);
    if (takesOneValue(schema))
      throw new Failure(`invalid input "${name}": given ${texts.length} times, takes one value`);
    return Promise.all(texts.map((each) => single(name, each, schema, files)));
  }
  const { items } = schema;
  if (items?.enum) {
    const chosen = texts.flatMap((each) => choices(each, items.enum!));
    return Promise.all(chosen.map((each) => single(name, each, items, files)));
  }
  const isFromFile = text.startsWith("@");
  if (texts.length === 1 && isFromFile && isListOfValues(schema)) return fromFile(name, text.slice(1), schema, files);
  const list = texts.length > 1 || isFromFile ? undefined : parsedList(text);
  return list ?? Promise.all(texts.map((each) => single(name, each, items, files)));
}

async function single(name: string, text: string, schema: Schema | undefined, files: InputFiles): Promise<unknown> {
  if (text.startsWith("@")) return fromFile(name, text.slice(1), schema, files);
  // The server would refuse it too, without knowing what was meant.
  if (files.onlyUrls && isFile(schema) && !/^(data|https?):/i.test(text)) {
    throw new Failure(`input "${name}": ${text} is not a URL`, {
      hint: `Send a file with @: -i ${quoted(`${name}=@${text}`)}`,
    });
  }
  if (schema?.anyOf) return firstThatFits(text, schema);
  switch (schema?.type) {
    case "integer":
      return asInteger(text) ?? text;
    case "number":
      return asNumber(text) ?? text;
    case "boolean":
      return asBoolean(text) ?? text;
    case "object":
      return asObject(name, text);
    default:
      return text;
  }
}

function firstThatFits(text: string, schema: Schema): unknown {
  const isPython = text === "True" || text === "False";
  for (const candidate of [isPython ? undefined : asBoolean(text), asInteger(text), asNumber(text)]) {
    if (candidate !== undefined && problemsOf("", candidate, schema).length === 0) return candidate;
  }
  return text;
}

function takesOneValue(schema: Schema | undefined): boolean {
  if (schema?.anyOf) return schema.anyOf.every(takesOneValue);
  return schema?.type !== undefined && schema.type !== "array";
}

/** `a,b`, `[a, b]`, `['a','b']`, and JSON in quotes of its own: a choice holds none of what surrounds it there. */
function choices(text: string, known: readonly unknown[]): string[] {
  if (known.includes(text)) return [text];
  const inside = text
    .trim()
    .replace(/^["'\\]*\[/, "")
    .replace(/\]["'\\]*$/, "");
  return inside.trim() === "" ? [] : inside.split(",").map((item) => item.replace(/^[\s"'\\]+|[\s"'\\]+$/g, ""));
}

/** JSON's words, and Python's. */
function asBoolean(text: string): boolean | undefined {
  if (text === "true" || text === "True") return true;
  return text === "false" || text === "False" ? false : undefined;
}

function asInteger(text: string): number | undefined {
  if (!/^[+-]?\d+$/.test(text)) return undefined;
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : undefined;
}

function asNumber(text: string): number | undefined {
  if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) return undefined;
  const value = Number(text);
  return Number.isFinite(value) ? value : undefined;
}

function asObject(name: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Failure(`input "${name}": the value must be JSON: ${(error as Error).message}`);
  }
}

function parsedList(text: string): unknown[] | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

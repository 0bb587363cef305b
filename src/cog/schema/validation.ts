import { Ajv2020, type ErrorObject, type ValidateFunction } from "ajv/dist/2020.js";
import type { JsonSchema } from "./json-schema.ts";

/** One breach of a schema. `path` is JSON pointer segments joined with "/", "" for the whole value. */
export interface Breach {
  readonly path: string;
  readonly message: string;
  /** The property that is missing, for that one kind of breach. */
  readonly missing: string | null;
}

/** `onlyFirst`: looks no further than the first breach, as for a long list that may be wrong throughout. */
export type Check = (value: unknown, onlyFirst?: boolean) => Breach[];

/** Longest text of a value inside a message, in UTF-16 units. */
const shownValue = 200;

/**
 * Compiles a schema as Cog reads it: JSON Schema 2020-12; OpenAPI-only words have no force and formats are not checked.
 * `isSecret` names paths whose value must not appear in messages.
 */
export function compileSchema(schema: JsonSchema, isSecret: (path: string) => boolean = () => false): Check {
  const plain = withoutNullable(schema) as JsonSchema;
  const compile = (allErrors: boolean) =>
    new Ajv2020({
      strict: false,
      validateFormats: false,
      allErrors,
      verbose: true,
      // Our own schemas are not checked against the meta-schema: compiling that takes 30 times as long as they do.
      meta: false,
      validateSchema: false,
    }).compile(plain);
  const validateAll = compile(true);
  let validateFirst: ValidateFunction | null = null;
  return (value, onlyFirst = false) => {
    if (onlyFirst) validateFirst ??= compile(false);
    const validate = onlyFirst ? validateFirst! : validateAll;
    if (validate(value)) return [];
    return topmost(validate.errors ?? []).map((error) => breach(error, isSecret));
  };
}

/** Ajv gives `nullable` the meaning "null is allowed"; for Cog it is a mark for user interfaces. */
function withoutNullable(schema: unknown, isPropertyMap = false): unknown {
  if (Array.isArray(schema)) return schema.map((item) => withoutNullable(item));
  if (typeof schema !== "object" || schema === null) return schema;
  const copy: JsonSchema = {};
  for (const [key, value] of Object.entries(schema)) {
    if (!isPropertyMap && (key === "nullable" || key === "default")) continue;
    copy[key] = withoutNullable(value, !isPropertyMap && (key === "properties" || key === "schemas"));
  }
  return copy;
}

/** A union is one entry: what its variants said is dropped. */
function topmost(errors: readonly ErrorObject[]): ErrorObject[] {
  // As many as the schema has unions, however many values break them.
  const unions = new Set(errors.filter(({ keyword }) => keyword === "anyOf").map(({ schemaPath }) => `${schemaPath}/`));
  return errors.filter(({ schemaPath }) => ![...unions].some((path) => schemaPath.startsWith(path)));
}

function breach(error: ErrorObject, isSecret: (path: string) => boolean): Breach {
  const path = error.instancePath
    .slice(1)
    .split("/")
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"))
    .join("/");
  const missing = error.keyword === "required" && path === "" ? (error.params.missingProperty as string) : null;
  const value = isSecret(path) ? "**********" : shown(error.data);
  return { path, missing, message: missing === null ? messageFor(error, value) : "Field required" };
}

/** Cog's wording. */
function messageFor(error: ErrorObject, value: string): string {
  const { params } = error;
  switch (error.keyword) {
    case "type":
      return `${value} is not of type ${JSON.stringify(params.type)}`;
    case "minimum":
      return `${value} is less than the minimum of ${params.limit}`;
    case "maximum":
      return `${value} is greater than the maximum of ${params.limit}`;
    case "maxLength":
      return `${value} is longer than ${count(params.limit)}`;
    case "minLength":
      return `${value} is shorter than ${count(params.limit)}`;
    case "maxItems":
      return `${value} has more than ${params.limit} ${params.limit === 1 ? "item" : "items"}`;
    case "pattern":
      return `${value} does not match ${JSON.stringify(params.pattern)}`;
    case "enum":
      return `${value} is not one of ${JSON.stringify(params.allowedValues)}`;
    case "anyOf":
      return `${value} is not valid under any of the schemas listed in the 'anyOf' keyword`;
    default:
      return `${value} ${error.message ?? "is not valid"}`;
  }
}

function count(limit: number): string {
  return limit === 1 ? "1 character" : `${limit} characters`;
}

/** The beginning of the value as JSON: of a large one no more is written than is shown. */
function shown(value: unknown): string {
  const text = beginning(value, shownValue + 1);
  // The cut may go through a surrogate pair.
  return text.length <= shownValue ? text : `${text.slice(0, shownValue).replace(/[\ud800-\udbff]$/, "")}…`;
}

/** At least `length` characters of the value's JSON, or all of it. */
function beginning(value: unknown, length: number): string {
  if (typeof value === "string") return JSON.stringify(value.length > length ? value.slice(0, length) : value);
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  let text = open!;
  for (const key in value) {
    if (text.length >= length) return text;
    const item = beginning((value as Record<string, unknown>)[key], length - text.length);
    const separator = text.length === 1 ? "" : ",";
    text += Array.isArray(value) ? separator + item : `${separator}${beginning(key, length)}:${item}`;
  }
  return text + close;
}

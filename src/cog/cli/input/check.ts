import { Failure } from "../../../terminal/failure.ts";
import type { InputSchema, Schema } from "./schema.ts";

/** Fails on names that the model does not have or that say the same. They end the check alone, before any file is read. */
export function checkNames(names: readonly string[], schema: InputSchema): void {
  const problems = names.flatMap((name) => {
    const problem = schema.names.problemWith(name, (other) => names.includes(other));
    return problem === undefined ? [] : [`invalid input "${name}": ${problem}`];
  });
  failIfAny(problems);
  const unknown = names.filter((name) => !schema.properties.has(schema.names.inputOf(name))).sort();
  if (unknown.length === 0) return;
  const valid = [...schema.properties.keys()].sort().join(", ");
  const quoted = unknown.map((name) => `"${name}"`).join(", ");
  throw new Failure(`unknown input${unknown.length > 1 ? "s" : ""} ${quoted}; valid inputs are: ${valid}`);
}

/** Checks values against the published schema before anything is started: explicit nulls first, then all the rest. */
export function checkValues(values: ReadonlyMap<string, unknown>, schema: InputSchema): void {
  const names = [...schema.properties.keys()].sort();
  const nulls = names
    .filter((name) => values.get(name) === null)
    .map((name) => `invalid input "${name}": must not be null (omit the input to use its default)`);
  failIfAny(nulls);
  failIfAny(
    names.flatMap((name) => {
      if (values.has(name)) return problemsOf(name, values.get(name), schema.properties.get(name)!);
      return schema.required.has(name) ? [`missing required input "${name}"`] : [];
    }),
  );
}

function failIfAny(problems: readonly string[]): void {
  if (problems.length === 1) throw new Failure(problems[0]!);
  if (problems.length > 1)
    throw new Failure(`input validation failed:\n${problems.map((text) => `- ${text}`).join("\n")}`);
}

/** What is wrong with one value, as sentences naming the input (`stop.0` for an item of a list); empty where it fits. */
export function problemsOf(name: string, value: unknown, schema: Schema): string[] {
  const problem = (text: string) => [`invalid input "${name}": ${text}`];
  if (schema.anyOf) {
    if (schema.anyOf.some((variant) => problemsOf(name, value, variant).length === 0)) return [];
    return problem(`expected ${schema.anyOf.map(({ type }) => type).join(" or ")}, got ${typeOf(value)}`);
  }
  if (schema.enum) {
    if (schema.enum.includes(value)) return [];
    const found = (JSON.stringify(value) ?? "").slice(0, 100);
    return problem(`must be one of: ${schema.enum.join(", ")}; found ${found}`);
  }
  if (schema.type !== undefined && !hasType(value, schema.type))
    return problem(`expected ${schema.type}, got ${typeOf(value)}`);
  if (Array.isArray(value) && value.length > (schema.maxItems ?? value.length))
    return problem(`maximum number of items is ${schema.maxItems}`);
  if (Array.isArray(value))
    return schema.items ? value.flatMap((item, index) => problemsOf(`${name}.${index}`, item, schema.items!)) : [];
  const text = constraintProblem(value, schema);
  return text === undefined ? [] : problem(text);
}

function constraintProblem(value: unknown, schema: Schema): string | undefined {
  if (typeof value === "number") {
    if (schema.minimum !== undefined && value < schema.minimum) return `number must be at least ${schema.minimum}`;
    if (schema.maximum !== undefined && value > schema.maximum) return `number must be at most ${schema.maximum}`;
  }
  if (typeof value === "string") {
    // Lengths are code points, as in JSON Schema.
    const length = schema.minLength === undefined && schema.maxLength === undefined ? 0 : [...value].length;
    if (schema.minLength !== undefined && length < schema.minLength)
      return `minimum string length is ${schema.minLength}`;
    if (schema.maxLength !== undefined && length > schema.maxLength)
      return `maximum string length is ${schema.maxLength}`;
    if (schema.pattern !== undefined && !matches(value, schema.pattern))
      return `string doesn't match the regular expression "${schema.pattern}"`;
  }
  return undefined;
}

/** A pattern this engine cannot read is left to the server. */
function matches(value: string, pattern: string): boolean {
  try {
    return new RegExp(pattern, "u").test(value);
  } catch {
    return true;
  }
}

function hasType(value: unknown, type: string): boolean {
  const actual = typeOf(value);
  return actual === type || (type === "number" && actual === "integer");
}

function typeOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  return Number.isInteger(value) ? "integer" : typeof value;
}

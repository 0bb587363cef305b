import { mostFiles } from "../files/uploads.ts";
import { InputNames, refusedMark } from "../schema/input-names.ts";
import { acceptsOne, type JsonSchema } from "../schema/json-schema.ts";
import type { OpenApiDocument } from "../schema/openapi.ts";
import { type Breach, type Check, compileSchema } from "../schema/validation.ts";

export interface InputProblem {
  readonly loc: readonly ["body", "input", string];
  readonly msg: string;
  readonly type: "value_error" | "value_error.missing";
}

export type CheckedInput =
  | { readonly input: Record<string, unknown>; readonly unknown: readonly string[] }
  | { readonly problems: readonly InputProblem[] };

/** A list with a million wrong elements is not worth a million entries. */
const mostProblems = 100;

/** Of a list in an input; of files there may be `mostFiles`. */
const mostItems = 100_000;
/** Of a secret: everything that leaves the model's process is searched for it. */
const longestSecret = 16_384;
const mostSecretLines = 256;

/** The published schema of one kind of input, compiled: what a request is held against. */
export class InputSchema {
  /** Fields that hold files, alone or in a list. */
  readonly fileFields: readonly string[];
  /** The same under every name that a request may give them. */
  readonly fileNames: readonly string[];
  /** Fields whose values must not show. */
  readonly secretFields: readonly string[];
  readonly #properties: Readonly<Record<string, JsonSchema>>;
  readonly #names: InputNames;
  readonly #order: readonly string[];
  readonly #nulls: readonly string[];
  readonly #check: Check;

  constructor(document: OpenApiDocument, component: "Input" | "TrainingInput") {
    const schemas = document.components!.schemas as Record<string, JsonSchema>;
    const properties = schemas[component]!.properties as Record<string, JsonSchema>;
    const required = new Set(schemas[component]!.required as string[] | undefined);
    const names = (test: (schema: JsonSchema, name: string) => boolean) =>
      Object.entries(properties)
        .filter(([name, schema]) => test(schema, name))
        .map(([name]) => name);
    this.#properties = properties;
    this.#names = new InputNames(Object.entries(properties), schemas[component]![refusedMark]);
    this.#order = Object.keys(properties);
    this.fileFields = names((schema) => isFile(schema) || isFile(schema.items as JsonSchema | undefined));
    this.fileNames = this.fileFields.flatMap((name) => [name, ...this.#names.othersOf(name)]);
    this.secretFields = names((schema) => schema["x-cog-secret"] === true);
    this.#nulls = names(
      (schema, name) => schema.nullable === true && !Object.hasOwn(schema, "default") && !required.has(name),
    );
    this.#check = compileSchema({ $ref: `#/components/schemas/${component}`, components: { schemas } }, (path) =>
      this.secretFields.includes(path.split("/")[0]!),
    );
  }

  /** Gives fields their own names, drops unknown ones, checks the rest, adds null where an optional field without default is absent. */
  check(given: unknown): CheckedInput {
    if (typeof given !== "object" || given === null || Array.isArray(given)) {
      const problem = { path: "__root__", missing: null, message: `${typeName(given)} is not of type "object"` };
      return { problems: [asProblem(problem)] };
    }
    const input: Record<string, unknown> = {};
    const unknown: string[] = [];
    const tooLong: Breach[] = [];
    let hasLongList = false;
    const wrong = this.#wrongNames(given);
    if (wrong.length > 0) return { problems: wrong.map(asProblem) };
    for (const [name, raw] of this.#renamed(given)) {
      const value = this.#ofOne(name, raw);
      if (Object.hasOwn(this.#properties, name)) input[name] = value;
      else unknown.push(name);
      if (typeof value === "string" && this.secretFields.includes(name)) tooLong.push(...tooLongSecret(name, value));
      if (!Array.isArray(value) || value.length <= mostFiles) continue;
      hasLongList = true;
      tooLong.push(...this.#tooLong(name, value.length));
    }
    if (tooLong.length > 0) return { problems: tooLong.map(asProblem) };
    const breaches = this.#check(input, hasLongList);
    if (breaches.length > 0) return { problems: this.#ordered(breaches) };
    for (const name of this.#nulls) if (!Object.hasOwn(input, name)) input[name] = null;
    return { input, unknown };
  }

  /** `places` of a request ("train_data", "files/3") by the fields' own names. */
  ownPlaces<T>(places: Readonly<Record<string, T>>): Record<string, T> {
    const rename = (place: string) => place.replace(/^[^/]*/, (name) => this.#names.inputOf(name));
    return Object.fromEntries(Object.entries(places).map(([place, value]) => [rename(place), value]));
  }

  #renamed(given: object): (readonly [string, unknown])[] {
    return Object.entries(given).map(([name, value]) => [this.#names.inputOf(name), value]);
  }

  #wrongNames(given: object): Breach[] {
    return Object.keys(given).flatMap((path) => {
      const message = this.#names.problemWith(path, (name) => Object.hasOwn(given, name));
      return message === undefined ? [] : [{ path, message, missing: null }];
    });
  }

  /** One value for a list that takes it so. */
  #ofOne(name: string, value: unknown): unknown {
    const isSuch = Object.hasOwn(this.#properties, name) && this.#properties[name]![acceptsOne] === true;
    return isSuch && value !== null && !Array.isArray(value) ? [value] : value;
  }

  #tooLong(name: string, length: number): Breach[] {
    const most = this.fileFields.includes(name) ? mostFiles : mostItems;
    if (length <= most || !Object.hasOwn(this.#properties, name)) return [];
    return [{ path: name, missing: null, message: `the list has more than ${most} items` }];
  }

  /** A copy that may be shown. */
  masked(input: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
    if (this.secretFields.length === 0) return input;
    return Object.fromEntries(
      Object.entries(input).map(([name, value]) => [
        name,
        this.secretFields.includes(name) && value !== null ? "**********" : value,
      ]),
    );
  }

  /** Cog's order: breaches by field name, then missing fields as declared. */
  #ordered(breaches: readonly Breach[]): InputProblem[] {
    const present = breaches
      .filter((breach) => breach.missing === null)
      .sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
    const missing = breaches
      .filter((breach) => breach.missing !== null)
      .sort((a, b) => this.#order.indexOf(a.missing!) - this.#order.indexOf(b.missing!));
    return [...present, ...missing].slice(0, mostProblems).map(asProblem);
  }
}

function tooLongSecret(path: string, value: string): Breach[] {
  if (value.length > longestSecret)
    return [{ path, missing: null, message: `the secret has more than ${longestSecret} characters` }];
  if (value.split(/\r\n|[\n\r]/, mostSecretLines + 1).length > mostSecretLines)
    return [{ path, missing: null, message: `the secret has more than ${mostSecretLines} lines` }];
  return [];
}

function asProblem({ path, missing, message }: Breach): InputProblem {
  return missing === null
    ? { loc: ["body", "input", path], msg: message, type: "value_error" }
    : { loc: ["body", "input", missing], msg: message, type: "value_error.missing" };
}

function isFile(schema: JsonSchema | undefined): boolean {
  return schema?.type === "string" && schema.format === "uri";
}

function typeName(value: unknown): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "an array" : `a ${typeof value}`;
}

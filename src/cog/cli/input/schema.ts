import { InputNames, refusedMark } from "../../schema/input-names.ts";
import { isFileName } from "../../schema/train-output.ts";

/** The parts of a JSON Schema that the published documents of models use. */
export interface Schema {
  $ref?: string;
  allOf?: Schema[];
  anyOf?: Schema[];
  type?: string;
  format?: string;
  enum?: unknown[];
  default?: unknown;
  nullable?: boolean;
  items?: Schema;
  properties?: Record<string, Schema>;
  required?: string[];
  minimum?: number;
  maximum?: number;
  description?: string;
  minLength?: number;
  maxLength?: number;
  maxItems?: number;
  pattern?: string;
  "x-order"?: number;
  "x-aliases"?: string[];
  "x-refused"?: Record<string, string>;
  deprecated?: boolean;
  "x-cog-array-display"?: string;
}

interface Operation {
  "x-cog-streaming"?: boolean;
  "x-train-output"?: string;
  responses?: Record<string, { content?: Record<string, { schema?: Schema }> }>;
}

/** A model's OpenAPI document, as far as the command reads it. It may come from a foreign server: every part is optional. */
export interface ModelDocument {
  paths?: Record<string, { post?: Operation }>;
  components?: { schemas?: Record<string, Schema> };
}

export type Route = "/predictions" | "/trainings";

export interface InputSchema {
  properties: Map<string, Schema>;
  required: ReadonlySet<string>;
  names: InputNames;
}

/** The declared inputs of a route, references resolved; undefined where the document has none. */
export function inputSchema(document: ModelDocument, route: Route): InputSchema | undefined {
  const schema = component(document, route === "/predictions" ? "Input" : "TrainingInput");
  if (!schema) return undefined;
  const properties = Object.entries(schema.properties ?? {}).map(
    ([name, property]) => [name, withItems(document, resolved(document, property))] as const,
  );
  const names = new InputNames(properties, schema[refusedMark]);
  return { properties: new Map(properties), required: new Set(schema.required ?? []), names };
}

/** The schema of a route's output, or undefined where the document does not lead to one. */
export function outputSchema(document: ModelDocument, route: Route): Schema | undefined {
  const answer = operation(document, route)?.responses?.["200"]?.content?.["application/json"]?.schema;
  const output = answer && resolved(document, answer).properties?.output;
  return output && resolved(document, output);
}

/** May a client of this route ask for an event stream? */
export function offersStream(document: ModelDocument, route: Route): boolean {
  return operation(document, route)?.["x-cog-streaming"] === true;
}

/** The name that the model gives to what a training writes; null: other clients' names. Never more than a name. */
export function trainOutput(document: ModelDocument): string | null {
  const name = operation(document, "/trainings")?.["x-train-output"];
  return typeof name === "string" && isFileName(name) ? name : null;
}

/** A file travels as text with this format. */
export function isFile(schema: Schema | undefined): boolean {
  return schema?.type === "string" && schema.format === "uri";
}

function operation(document: ModelDocument, route: Route): Operation | undefined {
  return document.paths && Object.hasOwn(document.paths, route) ? document.paths[route]?.post : undefined;
}

function component(document: ModelDocument, name: string): Schema | undefined {
  const schemas = document.components?.schemas ?? {};
  return Object.hasOwn(schemas, name) ? schemas[name] : undefined;
}

function withItems(document: ModelDocument, schema: Schema): Schema {
  return schema.items ? { ...schema, items: resolved(document, schema.items) } : schema;
}

/** Follows `$ref` and the one-element `allOf` that choices are published with; what stands beside them is kept. */
function resolved(document: ModelDocument, schema: Schema, depth = 0): Schema {
  if (depth > 8) return schema;
  const { $ref, allOf, ...rest } = schema;
  const parts = [...(allOf ?? [])];
  const target = $ref?.startsWith("#/components/schemas/") ? component(document, $ref.slice(21)) : undefined;
  if (target) parts.push(target);
  return Object.assign({}, ...parts.map((part) => resolved(document, part, depth + 1)), rest);
}

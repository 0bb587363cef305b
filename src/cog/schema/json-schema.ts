import type { FieldSpec } from "./field.ts";
import { aliasesMark } from "./input-names.ts";
import type { OutputSpec } from "./output.ts";

/** A JSON Schema as the OpenAPI document carries it, with Cog's extensions. */
export type JsonSchema = { [key: string]: unknown };

/** A mark of our own on a list for which one value may stand. */
export const acceptsOne = "x-accepts-one";

/** "top_p" -> "Top P" */
export function titleOf(name: string): string {
  return name
    .split("_")
    .map((word) => word.slice(0, 1).toUpperCase() + word.slice(1))
    .join(" ");
}

/** The bare type of a field, without what belongs to the property around it (title, default, order). */
export function typeSchema(field: FieldSpec): JsonSchema {
  const { options } = field;
  switch (field.kind) {
    case "string":
      return defined({
        type: "string",
        enum: options.choices,
        minLength: options.minLength,
        maxLength: options.maxLength,
        pattern: options.regex,
      });
    case "integer":
    case "number":
      return defined({ type: field.kind, enum: options.choices, minimum: options.ge, maximum: options.le });
    case "boolean":
      return { type: "boolean" };
    case "path":
      return defined({ type: "string", format: "uri", "x-cog-accept": options.accept });
    case "secret":
      return { type: "string", format: "password", writeOnly: true, "x-cog-secret": true };
    case "list":
      return defined({ type: "array", items: typeSchema(field.element!), maxItems: options.maxItems });
    case "union":
      return { anyOf: field.variants!.map((variant) => nullableWhere(field.optional, typeSchema(variant))) };
    case "object":
      return { type: "object" };
    case "any":
      return {};
  }
}

/** A field as a property of Input; `component` names the schema that holds its choices. */
export function inputProperty(name: string, field: FieldSpec, order: number, component: string | null): JsonSchema {
  const { options } = field;
  const around = defined({
    description: options.description,
    default: options.default,
    deprecated: options.deprecated === true ? true : undefined,
    [aliasesMark]: options.aliases,
    [acceptsOne]: options.acceptsOne === true ? true : undefined,
    nullable: field.optional ? true : undefined,
    "x-order": order,
  });
  if (component !== null) return { allOf: [{ $ref: `#/components/schemas/${component}` }], ...around };
  return { ...typeSchema(field), title: titleOf(name), ...around };
}

/** The component of a field with choices. Cog names it after the parameter. */
export function choicesComponent(name: string, field: FieldSpec): JsonSchema {
  return defined({ title: name, ...typeSchema(field), description: field.options.description ?? "An enumeration." });
}

export function hasChoices(field: FieldSpec): boolean {
  return Array.isArray(field.options.choices);
}

/** A client may leave it out: it is optional, or has a default. */
export function isRequired(field: FieldSpec): boolean {
  return !field.optional && !Object.hasOwn(field.options, "default");
}

export function outputSchema(spec: OutputSpec): JsonSchema {
  switch (spec.kind) {
    case "string":
    case "integer":
    case "number":
    case "boolean":
      return { type: spec.kind };
    case "path":
      return { type: "string", format: "uri" };
    case "any":
      return {};
    case "list":
      return { type: "array", items: outputSchema(spec.element!) };
    case "iterator":
      return { type: "array", items: outputSchema(spec.element!), "x-cog-array-type": "iterator" };
    case "concatenateIterator":
      return {
        type: "array",
        items: { type: "string" },
        "x-cog-array-type": "iterator",
        "x-cog-array-display": "concatenate",
      };
    case "object": {
      const fields = Object.entries(spec.fields!);
      const required = fields.filter(([, field]) => !field.optional).map(([name]) => name);
      return defined({
        type: "object",
        properties: Object.fromEntries(
          fields.map(([name, field]) => [
            name,
            nullableWhere(field.optional, { ...outputSchema(field), title: titleOf(name) }),
          ]),
        ),
        required: required.length > 0 ? required : undefined,
      });
    }
  }
}

function nullableWhere(nullable: boolean, schema: JsonSchema): JsonSchema {
  return nullable ? { ...schema, nullable: true } : schema;
}

/** Without the keys whose value is undefined, so that they do not appear in the document. */
function defined(schema: JsonSchema): JsonSchema {
  return Object.fromEntries(Object.entries(schema).filter(([, value]) => value !== undefined));
}

import { CodedError } from "../../errors/index.ts";
import type { FieldSpec, Inputs } from "../schema/field.ts";
import { Path, Secret } from "../schema/values.ts";

/**
 * The argument of `predict`: defaults filled in, absent optional fields null, paths and secrets wrapped. `names` gives
 * what the client called a file.
 */
export function toAuthorInput(
  inputs: Inputs,
  given: Readonly<Record<string, unknown>>,
  names: Readonly<Record<string, string>>,
): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  for (const [name, { spec }] of Object.entries(inputs)) {
    const value = Object.hasOwn(given, name) ? given[name] : defaultOf(name, spec);
    result[name] = convert(spec, value, names);
  }
  return result;
}

function defaultOf(name: string, spec: FieldSpec): unknown {
  // A copy: what one prediction does to a default list must not reach the next.
  if (Object.hasOwn(spec.options, "default")) return structuredClone(spec.options.default);
  if (spec.optional) return null;
  // Only where no schema stood before it: /predictions of a server that trains.
  throw new CodedError("PREDICTOR_INVALID", `input ${JSON.stringify(name)} is missing`);
}

function convert(spec: FieldSpec, value: unknown, names: Readonly<Record<string, string>>): unknown {
  if (value === null) return null;
  switch (spec.kind) {
    case "path":
      return new Path(value as string, Object.hasOwn(names, value as string) ? { name: names[value as string]! } : {});
    case "secret":
      return new Secret(value as string);
    case "list":
      return (value as unknown[]).map((item) => convert(spec.element!, item, names));
    default:
      return value;
  }
}

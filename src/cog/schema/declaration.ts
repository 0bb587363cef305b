import { CodedError } from "../../errors/index.ts";
import { Field, type FieldKind, type FieldSpec, type Inputs } from "./field.ts";
import { typeSchema } from "./json-schema.ts";
import { OutputType } from "./output.ts";
import { compileSchema } from "./validation.ts";

const commonOptions = ["description", "default", "deprecated", "aliases"];
const optionsOf: Record<FieldKind, readonly string[]> = {
  string: [...commonOptions, "minLength", "maxLength", "regex", "choices"],
  integer: [...commonOptions, "ge", "le", "choices"],
  number: [...commonOptions, "ge", "le", "choices"],
  boolean: commonOptions,
  path: [...commonOptions, "accept"],
  secret: commonOptions,
  list: [...commonOptions, "maxItems", "acceptsOne"],
  union: commonOptions,
  object: commonOptions,
  any: commonOptions,
};
const definitionKeys = new Set([
  "inputs",
  "output",
  "setup",
  "predict",
  "train",
  "refused",
  "streaming",
  "concurrency",
  "healthcheck",
  "teardown",
]);
/** Components of the document itself: a parameter with choices gets one of its own name. */
const reservedNames = new Set([
  "Input",
  "Output",
  "Status",
  "TrainingInput",
  "TrainingOutput",
  "PredictionRequest",
  "PredictionResponse",
  "TrainingRequest",
  "TrainingResponse",
  "HTTPValidationError",
  "ValidationError",
  "__proto__",
  "constructor",
  "prototype",
]);

/**
 * Checks what types cannot: names, limits, defaults.
 * @throws CodedError PREDICTOR_INVALID
 */
export function checkDeclaration(definition: object, runKey: "predict" | "train"): void {
  if (typeof definition !== "object" || definition === null) throw invalid("a declaration must be an object");
  const given = definition as Record<string, unknown>;
  const unknown = Object.keys(given).find((key) => !definitionKeys.has(key));
  if (unknown !== undefined) throw invalid(`unknown key ${JSON.stringify(unknown)} in the declaration`);
  if (typeof given[runKey] !== "function") throw invalid(`the declaration lacks the function ${runKey}`);
  if (!(given.output instanceof OutputType)) {
    throw invalid("the declaration's output must be one of Output.…");
  }
  if (given.concurrency !== undefined && !(Number.isInteger(given.concurrency) && (given.concurrency as number) >= 1)) {
    throw invalid(`concurrency must be a positive integer, not ${String(given.concurrency)}`);
  }
  if (typeof given.inputs !== "object" || given.inputs === null) throw invalid("the declaration's inputs are missing");
  for (const [name, field] of Object.entries(given.inputs)) checkInput(name, field);
  checkOtherNames(given.inputs as Inputs, given.refused ?? {});
}

/** Every name means one thing. */
function checkOtherNames(inputs: Inputs, refused: unknown): void {
  if (typeof refused !== "object" || refused === null) throw invalid("refused must be an object of names");
  const seen = new Set(Object.keys(inputs));
  const take = (name: unknown, of: string): void => {
    const problem = typeof name === "string" ? problemWithName(name) : "a name must be a text";
    const found = seen.has(name as string) ? "this name is taken" : problem;
    if (found !== null) throw invalid(`${of} ${JSON.stringify(name)}: ${found}`);
    seen.add(name as string);
  };
  for (const [name, { spec }] of Object.entries(inputs)) {
    const { aliases = [] } = spec.options;
    if (!Array.isArray(aliases)) throw invalid(`input ${JSON.stringify(name)}: aliases must be a list`);
    for (const alias of aliases) take(alias, `input ${JSON.stringify(name)}: alias`);
  }
  for (const [name, instead] of Object.entries(refused)) {
    take(name, "refused name");
    if (typeof instead !== "string") throw invalid(`refused name ${JSON.stringify(name)}: what to use is no text`);
  }
}

function checkInput(name: string, field: unknown): void {
  const problem = problemWithName(name) ?? (field instanceof Field ? problemWith(field.spec) : "is not one of Input.…");
  if (problem !== null) throw invalid(`input ${JSON.stringify(name)}: ${problem}`);
}

function problemWithName(name: string): string | null {
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) return "a name must be letters, digits and underscores";
  if (reservedNames.has(name)) return "this name is reserved";
  return null;
}

function problemWith(spec: FieldSpec): string | null {
  const options = spec.options;
  const unknown = Object.keys(options).find((key) => !optionsOf[spec.kind].includes(key));
  if (unknown !== undefined) return `unknown option ${JSON.stringify(unknown)}`;
  return (
    problemWithChoices(options) ?? problemWithLimits(options) ?? problemWithParts(spec) ?? problemWithDefault(spec)
  );
}

function problemWithChoices(options: FieldSpec["options"]): string | null {
  if (options.choices === undefined) return null;
  if (!Array.isArray(options.choices) || options.choices.length === 0) return "choices must be a list with an entry";
  return null;
}

function problemWithLimits(options: FieldSpec["options"]): string | null {
  for (const key of ["ge", "le", "minLength", "maxLength", "maxItems"]) {
    const value = options[key];
    if (value !== undefined && !Number.isFinite(value)) return `${key} must be a number`;
  }
  for (const key of ["minLength", "maxLength", "maxItems"]) {
    const value = options[key] as number | undefined;
    if (value !== undefined && (!Number.isInteger(value) || value < 0)) return `${key} must be a non-negative integer`;
  }
  if ((options.ge as number) > (options.le as number)) return `ge ${options.ge} is over le ${options.le}`;
  if ((options.minLength as number) > (options.maxLength as number)) return "minLength is over maxLength";
  if (options.regex !== undefined) {
    try {
      new RegExp(options.regex as string, "u");
    } catch (error) {
      return `regex: ${(error as Error).message}`;
    }
  }
  return null;
}

function problemWithParts(spec: FieldSpec): string | null {
  const parts = spec.kind === "list" ? [spec.element!] : (spec.variants ?? []);
  for (const part of parts) {
    if (part.optional || Object.hasOwn(part.options, "default")) return "an element has no default and is not optional";
    const problem = problemWith(part);
    if (problem !== null) return problem;
    if (spec.kind === "list" && part.kind === "secret") return "a list cannot hold secrets";
    if (spec.kind === "union" && ["path", "secret", "union"].includes(part.kind)) {
      return `a union cannot hold a ${part.kind}`;
    }
  }
  if (spec.kind === "union" && parts.length < 2) return "a union needs two variants";
  return null;
}

function problemWithDefault(spec: FieldSpec): string | null {
  if (!Object.hasOwn(spec.options, "default")) return null;
  const value = spec.options.default;
  if (value === undefined) return "default is undefined";
  if (value === null) return spec.optional ? null : "default null needs .optional()";
  const [problem] = compileSchema(typeSchema(spec))(value);
  return problem === undefined ? null : `default: ${problem.message}`;
}

function invalid(message: string): CodedError {
  return new CodedError("PREDICTOR_INVALID", message);
}

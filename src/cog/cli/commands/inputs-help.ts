import { inputSchema, isFile, type Schema } from "../input/schema.ts";
import { localDocument } from "../run/document.ts";
import { localModel } from "../run/local.ts";

/** The inputs of the project in this folder as a part of `--help`; empty where there is none, or one that does not load. */
export async function inputsHelp(mode: "predict" | "train"): Promise<string> {
  try {
    const model = localModel({ config: undefined, mode, env: [], debug: false });
    const schema = inputSchema(await localDocument(model), mode === "predict" ? "/predictions" : "/trainings");
    if (!schema) return "";
    const rows = [...schema.properties]
      .sort(([, a], [, b]) => (a["x-order"] ?? 0) - (b["x-order"] ?? 0))
      .map(([name, property]) => [name, property, schema.required.has(name)] as const);
    const listed = rows.filter(([, { deprecated }]) => !deprecated);
    const width = Math.max(...listed.map(([name]) => name.length));
    const lines = listed.map(([name, property, required]) => `  ${name.padEnd(width)}  ${about(property, required)}`);
    const others = rows.filter(([, { deprecated }]) => deprecated).map(([name]) => name);
    const also = others.length > 0 ? ["", `Taken too, in place of others: ${others.join(", ")}`] : [];
    return ["", "Inputs of this model:", ...lines, ...also, ""].join("\n");
  } catch {
    // Help must come even where the project is broken; every other command tells what is wrong with it.
    return "";
  }
}

function about(schema: Schema, required: boolean): string {
  const { description, minimum, maximum } = schema;
  const limits = [
    minimum === undefined ? "" : `at least ${minimum}`,
    maximum === undefined ? "" : `at most ${maximum}`,
  ];
  const facts = [
    schema.enum ? schema.enum.join(" | ") : isFile(schema) ? "file" : kindOf(schema),
    ...limits,
    required
      ? "required"
      : schema.default === undefined || schema.default === null
        ? ""
        : `default ${JSON.stringify(schema.default)}`,
    schema["x-aliases"]?.length ? `also ${schema["x-aliases"].join(", ")}` : "",
  ];
  return `${description ? `${description} ` : ""}(${facts.filter(Boolean).join(", ")})`;
}

function kindOf({ type, items, anyOf }: Schema): string {
  if (anyOf) return anyOf.map(kindOf).join(" or ");
  return type === "array" ? `list of ${items ? kindOf(items) : "values"}` : (type ?? "any");
}

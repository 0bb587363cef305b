import { checkNames, checkValues } from "./check.ts";
import { coerced } from "./coerce.ts";
import type { InputFiles } from "./files.ts";
import { fromFile } from "./from-file.ts";
import { type InputSchema, isFile, type Schema } from "./schema.ts";
import type { Supplied } from "./supplied.ts";

/**
 * The `input` object to send: names checked, texts turned into the declared types, values checked, `@file` and addresses
 * turned into what `files` sends for them. Without a schema everything is sent as it was given, and the server decides.
 */
export async function resolveInputs(
  supplied: Supplied,
  schema: InputSchema | undefined,
  files: InputFiles,
): Promise<Record<string, unknown>> {
  if (schema) checkNames([...supplied.values.keys()], schema);
  const values = new Map<string, unknown>();
  for (const [word, given] of supplied.values) {
    const name = schema?.names.inputOf(word) ?? word;
    const property = schema?.properties.get(name);
    if (supplied.kind === "text") values.set(name, await coerced(name, given as string[], property, files));
    else if (typeof given === "string" && given.startsWith("@"))
      values.set(name, await fromFile(name, given.slice(1), property, files));
    else values.set(name, given);
  }
  if (schema) checkValues(values, schema);
  return Object.fromEntries(
    [...values].map(([name, value]) => [name, withAddresses(value, schema?.properties.get(name), files)]),
  );
}

function withAddresses(value: unknown, schema: Schema | undefined, files: InputFiles): unknown {
  if (Array.isArray(value)) return value.map((item) => withAddresses(item, schema?.items, files));
  return isFile(schema) && typeof value === "string" && /^https?:/i.test(value) ? files.address(value) : value;
}

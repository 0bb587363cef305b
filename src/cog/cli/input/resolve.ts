import { checkNames, checkValues } from "./check.ts";
import { coerced } from "./coerce.ts";
import { fileAsDataUrl } from "./file.ts";
import { type InputSchema, isFile } from "./schema.ts";
import type { Supplied } from "./supplied.ts";

/**
 * The `input` object to send: names checked, texts turned into the declared types, `@file` read into data URLs, values checked.
 * Without a schema everything is sent as it was given, and the server decides.
 * `named`: say the files' names in their data URLs (our own server reads them).
 */
export async function resolveInputs(
  supplied: Supplied,
  schema: InputSchema | undefined,
  named: boolean,
): Promise<Record<string, unknown>> {
  if (schema) checkNames(supplied.values.keys(), schema);
  const values = new Map<string, unknown>();
  for (const [name, given] of supplied.values) {
    const property = schema?.properties.get(name);
    if (supplied.kind === "text") values.set(name, await coerced(name, given as string[], property, named));
    else if (typeof given === "string" && given.startsWith("@"))
      values.set(name, await fileAsDataUrl(name, given.slice(1), named && isFile(property)));
    else values.set(name, given);
  }
  if (schema) checkValues(values, schema);
  return Object.fromEntries(values);
}

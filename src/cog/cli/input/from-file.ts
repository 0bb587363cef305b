import { readFile } from "node:fs/promises";
import { Failure } from "../../../terminal/failure.ts";
import { expanded, fileFailure, type InputFiles } from "./files.ts";
import { isFile, type Schema } from "./schema.ts";

/** What is sent for `name=@path`: for a file or a text what `files` makes of it, for an object or a list of such the file's JSON. */
export async function fromFile(name: string, path: string, schema: Schema | undefined, files: InputFiles) {
  if (isFile(schema)) return files.file(name, path);
  if (schema?.type === "object") return readJson(name, path);
  if (!isListOfValues(schema)) return files.text(name, path);
  const value = await readJson(name, path);
  return Array.isArray(value) ? value : [value];
}

/** A list whose items are neither texts nor files: a data URL could be none of them. */
export function isListOfValues(schema: Schema | undefined): boolean {
  const item = schema?.type === "array" ? schema.items?.type : undefined;
  return item !== undefined && item !== "string";
}

async function readJson(name: string, path: string): Promise<unknown> {
  const text = await readFile(expanded(path), "utf8").catch((error) => {
    throw fileFailure(name, error.code === "EISDIR" ? "read" : "open", path, error);
  });
  try {
    return JSON.parse(text.replace(/^\ufeff/, ""));
  } catch (error) {
    throw new Failure(`input "${name}": ${path} must be JSON: ${(error as Error).message}`);
  }
}

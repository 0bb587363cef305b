import { Failure } from "../../../terminal/failure.ts";
import { print, say } from "../../../terminal/streams.ts";
import { isFile, type Schema } from "../input/schema.ts";
import { type AnsweredFile, parseDataUrl, type ReadAnswered } from "./data-url.ts";
import { type Destination, fileName } from "./destination.ts";
import { indentedJson } from "./json.ts";
import { writeOutput } from "./write.ts";

/** Prints or writes the output of a run that succeeded; returns the paths of the files written. */
export async function deliver(
  output: unknown,
  schema: Schema | undefined,
  to: Destination,
  read: ReadAnswered = parseDataUrl,
): Promise<string[]> {
  if (output === null || output === undefined) {
    say("No output generated");
    return [];
  }
  const { shown, written } = await writeFiles(output, schema, to, read);
  const onlyFiles = isFile(schema) || (schema?.type === "array" && isFile(schema.items));
  if (onlyFiles && written.length > 0) return written;
  if (to.archive !== undefined && written.length > 0) {
    // What the trainer answered beside its archive is a result too; where there is nothing else, the file says it all.
    if (typeof shown === "object" && Object.keys(shown!).length > written.length)
      await print(`${indentedJson(shown)}\n`);
    return written;
  }
  if (onlyFiles && Array.isArray(output) && output.length === 0) return [];
  // An object keeps its data URLs, as other clients write it; its files lie beside it.
  const value = onlyFiles ? shown : output;
  const text = schema?.type === "string" && typeof value === "string" ? value : indentedJson(value);
  if (schema?.type === "string" && typeof value !== "string")
    throw new Failure("Failed to convert prediction output to string");
  if (to.text === undefined) await print(`${text}\n`);
  else await writeOutput(to.text, text);
  return to.text === undefined ? written : [to.text, ...written];
}

/** Writes the files of an output (alone, in a list, or fields of an object); `shown` has their paths in place of the data. */
export async function writeFiles(
  output: unknown,
  schema: Schema | undefined,
  to: Destination,
  read: ReadAnswered = parseDataUrl,
): Promise<{ shown: unknown; written: string[] }> {
  const written: string[] = [];
  const write = async (value: unknown, part?: string | number): Promise<unknown> => {
    const file = read(value);
    if (!file) return value;
    const path = pathFor(file, to, part);
    await writeOutput(path, file.content, { isTrained: to.archive !== undefined });
    written.push(path);
    return path;
  };
  if (isFile(schema) || isByPath(output, read)) return { shown: await write(output), written };
  if (Array.isArray(output) && (isFile(schema?.items) || output.some((item) => isByPath(item, read)))) {
    const shown: unknown[] = [];
    for (const [index, item] of output.entries()) shown.push(await write(item, index));
    return { shown, written };
  }
  if (typeof output !== "object" || output === null || Array.isArray(output)) return { shown: output, written };
  const fields = Object.entries(output);
  const files = fields.filter(([name, value]) => (isFileField(schema, name) && read(value)) || isByPath(value, read));
  const shown = new Map(fields);
  for (const [name, value] of files) shown.set(name, await write(value, files.length > 1 ? name : undefined));
  return { shown: Object.fromEntries(shown), written };
}

/** Such a text means nothing to the user, whatever the schema calls it. */
function isByPath(value: unknown, read: ReadAnswered): boolean {
  const file = read(value);
  return file !== undefined && !Buffer.isBuffer(file.content);
}

function isFileField(schema: Schema | undefined, name: string): boolean {
  const properties = schema?.properties ?? {};
  return Object.hasOwn(properties, name) && isFile(properties[name]);
}

function pathFor(file: AnsweredFile, to: Destination, part?: string | number): string {
  return to.archive !== undefined && part === undefined ? to.archive : fileName(to.fileBase, file.extension, part);
}

import { basename } from "node:path";
import { inputSchema, isFile, type ModelDocument } from "../input/schema.ts";

/** The command that tries a trained archive: `cog predict -i adapter=@adapter.tar.gz -i prompt="..."`. */
export function nextCommand(document: ModelDocument, archive: string): string {
  const schema = inputSchema(document, "/predictions");
  const files = [...(schema?.properties ?? [])].filter(([, property]) => isFile(property)).map(([name]) => name);
  const wanted = basename(archive).split(".")[0];
  // The input is the one named like the archive; an archive that was given another name goes to the only file input.
  const file = files.find((name) => name === wanted) ?? (files.length === 1 ? files[0] : undefined);
  if (file === undefined) return "";
  const required = [...(schema?.required ?? [])].filter((name) => name !== file);
  return ["cog predict", `-i ${quoted(`${file}=@${archive}`)}`, ...required.map((name) => `-i ${name}="..."`)].join(
    " ",
  );
}

function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

import { basename } from "node:path";
import { calledAs } from "../../../terminal/called-as.ts";
import { quoted } from "../../../terminal/shell.ts";
import { inputSchema, isFile, type ModelDocument } from "../input/schema.ts";

/** What of the training's command line holds for predictions too. */
export interface SameModel {
  url: string | undefined;
  /** `-f` */
  config: string | undefined;
  /** `-e` words */
  env: readonly string[];
}

/**
 * The command that tries a trained archive, to be pasted into a shell: `cog predict -i adapter=@adapter.tar.gz -i prompt="..."`.
 * Empty where no input of the model is known to take it.
 */
export function nextCommand(document: ModelDocument, archive: string, { url, config, env }: SameModel): string {
  const schema = inputSchema(document, "/predictions");
  const files = [...(schema?.properties ?? [])].filter(([, property]) => isFile(property)).map(([name]) => name);
  const wanted = basename(archive).split(".")[0];
  // The input is the one named like the archive; an archive that was given another name goes to the only file input.
  const file = files.find((name) => name === wanted) ?? (files.length === 1 ? files[0] : undefined);
  if (file === undefined) return "";
  const required = [...(schema?.required ?? [])].filter((name) => name !== file);
  return [
    `${calledAs()} predict`,
    ...(url === undefined ? [] : [quoted(url)]),
    ...(config === undefined ? [] : [`-f ${quoted(config)}`]),
    ...env.map((word) => `-e ${quoted(word)}`),
    `-i ${quoted(`${file}=@${archive}`)}`,
    ...required.map((name) => `-i ${name}="..."`),
  ].join(" ");
}

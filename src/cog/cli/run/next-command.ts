import { basename } from "node:path";
import { quoted } from "../../../terminal/shell.ts";
import { inputSchema, isFile, type ModelDocument, trainOutput } from "../input/schema.ts";
import { modelWords, type SameModel } from "./model-words.ts";

/**
 * The command that tries a trained archive, to be pasted into a shell: `cog predict -i adapter=@adapter.tar.gz -i prompt="..."`.
 * Empty where no input of the model is known to take it.
 */
export function nextCommand(document: ModelDocument, archive: string, model: SameModel): string {
  const schema = inputSchema(document, "/predictions");
  const inputs = [...(schema?.properties ?? [])];
  const files = inputs.filter(([, property]) => isFile(property) || isFile(property.items)).map(([name]) => name);
  const inputNamed = (path: string | null) => files.find((name) => name === path?.split(".")[0]);
  // An archive that was given another name goes to the input named like the one that the model publishes, else to the only one.
  const only = files.length === 1 ? files[0] : undefined;
  const file = inputNamed(basename(archive)) ?? inputNamed(trainOutput(document)) ?? only;
  if (file === undefined) return "";
  const required = [...(schema?.required ?? [])].filter((name) => name !== file);
  // Where nothing is required a model is still asked something: the first of its inputs.
  const [first] = inputs.filter(([, { type, format }]) => type === "string" && format === undefined);
  const asked = required.length > 0 || !first ? required : [first[0]];
  return [
    ...modelWords("predict", model),
    `-i ${quoted(`${file}=@${archive}`)}`,
    ...asked.map((name) => `-i ${name}="..."`),
  ].join(" ");
}

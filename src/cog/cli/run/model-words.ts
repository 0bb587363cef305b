import { calledAs } from "../../../terminal/called-as.ts";
import { quoted } from "../../../terminal/shell.ts";

/** What of a command line says which model it runs. */
export interface SameModel {
  readonly url?: string | undefined;
  /** `-f` */
  readonly config: string | undefined;
  /** `-e` words */
  readonly env: readonly string[];
}

/** The beginning of another command on the same model, for a shell: `cog predict`, `-f cog.yaml`, `-e NAME=value`. */
export function modelWords(mode: "predict" | "train", { url, config, env }: SameModel): string[] {
  return [
    `${calledAs()} ${mode}`,
    ...(url === undefined ? [] : [quoted(url)]),
    ...(config === undefined ? [] : [`-f ${quoted(config)}`]),
    ...env.map((word) => `-e ${quoted(word)}`),
  ];
}

import { Resumable } from "../../../terminal/interrupt.ts";
import { quoted } from "../../../terminal/shell.ts";
import type { RunAnswer } from "./client.ts";
import { modelWords, type SameModel } from "./model-words.ts";

/** The command line of the run that was stopped. */
export interface StoppedCommand extends Omit<SameModel, "url"> {
  readonly mode: "predict" | "train";
  /** `-i` words */
  readonly input: readonly string[];
  readonly json: string | undefined;
  readonly output: string | undefined;
}

/**
 * A run that was stopped says by its metric `resume`, an object, which inputs go on with it: a text to be given, null for an
 * input that is to be left out.
 * @throws Resumable with the command to be pasted into a shell
 */
export function requireNothingToResume({ status, metrics }: RunAnswer, command: StoppedCommand): void {
  const inputs = metrics?.resume;
  if (status !== "canceled" || typeof inputs !== "object" || inputs === null || Array.isArray(inputs)) return;
  const given = Object.entries(inputs).filter((entry): entry is [string, string] => typeof entry[1] === "string");
  const words = given.map(([name, value]) => `${name}=${value}`);
  throw new Resumable("Stopped. To go on:", resumeCommand(Object.keys(inputs), words, command));
}

function resumeCommand(names: readonly string[], words: readonly string[], command: StoppedCommand): string {
  const { mode, input, json, output, config, env } = command;
  const kept = input.filter((word) => !names.includes(word.split("=")[0]!));
  const inputs = [...kept, ...words].map((word) => `-i ${quoted(word)}`);
  return [
    ...modelWords(mode, { config, env }),
    ...(output === undefined ? [] : [`-o ${quoted(output)}`]),
    // Inputs that were given as JSON cannot be given beside others.
    ...(json === undefined ? inputs : [`--json <the same, with ${words.join(", ")}>`]),
  ].join(" ");
}

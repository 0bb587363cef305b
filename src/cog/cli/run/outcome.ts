import { Failure } from "../../../terminal/failure.ts";
import type { RunAnswer } from "./client.ts";

/**
 * A message that carries one of our codes (`[DATASET_ROW_FIELD] data.json, record 3: …`), alone or as a line of a log, as the
 * command prints it: `error [DATASET_ROW_FIELD]: data.json, record 3: …`. Undefined where there is no code.
 */
export function codedFailure(text: string | null | undefined): Failure | undefined {
  const found = /(?:^|\n|: )\[([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*)\] ([^\n]+)/.exec(text ?? "");
  return found ? new Failure(`error [${found[1]}]: ${found[2]}`) : undefined;
}

/** The error of a run, with all its lines where it begins with a code. */
export function runFailure(error: string): Failure | undefined {
  const whole = /^\[([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*)\] (.+)$/s.exec(error);
  return whole ? new Failure(`error [${whole[1]}]: ${whole[2]}`) : codedFailure(error);
}

/** `TypeError: a.b is undefined (predict.ts:6:50)`: the first line of an error with a stack, and the first place in the stack. */
export function located(text: string): string {
  const [message = "", ...frames] = text.split("\n");
  const place = frames.map((line) => /^ +at (?:.*\()?(.+:\d+:\d+)\)?$/.exec(line)?.[1]).find(Boolean);
  return place === undefined ? message : `${message} (${place})`;
}

/** @throws Failure unless the run succeeded */
export function requireSuccess(answer: RunAnswer): void {
  if (answer.status === "succeeded") return;
  const error = answer.error ?? "";
  throw runFailure(error) ?? new Failure(`Prediction failed with status "${answer.status}": ${error}`);
}

import { CodedError } from "../../errors/index.ts";

/** TRAINING_CHECKPOINT: a checkpoint that is not there, or is damaged. */
export function refuse(message: string, options: { hint?: string; cause?: unknown } = {}): CodedError {
  return new CodedError("TRAINING_CHECKPOINT", message, options);
}

/** A file that is not what was written. @param place names it: "step-000120/state.json" */
export function damaged(place: string, what: string, cause?: unknown): CodedError {
  return refuse(`${place}: ${what}`, {
    hint: "The checkpoint is damaged or was changed; resume from another one.",
    cause,
  });
}

/** TRAINING_RESUME: what a checkpoint was made with is not what it would go on with. */
export function mismatch(message: string, hint: string): CodedError {
  return new CodedError("TRAINING_RESUME", message, { hint });
}

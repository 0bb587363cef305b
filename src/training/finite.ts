import { CodedError } from "../errors/index.ts";

/** @throws TRAINING_DIVERGED naming the step */
export function requireFinite(what: string, value: number, step: number): void {
  if (Number.isFinite(value)) return;
  throw new CodedError("TRAINING_DIVERGED", `step ${step}: the ${what} is ${value}`, {
    hint: "Try a lower learning_rate, or a max_grad_norm of 1.",
  });
}

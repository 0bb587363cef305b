import { CodedError, type ErrorCode } from "../../../errors/index.ts";
import { checkpointErrors, type FileErrors } from "../safetensors.ts";

/** What to report of a PyTorch file that is missing, damaged or holds more than tensors. */
export interface PytorchErrors extends FileErrors {
  readonly unsupported: ErrorCode;
}

export const pytorchErrors: PytorchErrors = { ...checkpointErrors, unsupported: "CHECKPOINT_UNSUPPORTED" };

/** Refuses one PyTorch file: every message names it. */
export class Refusal {
  readonly file: string;
  readonly errors: PytorchErrors;

  constructor(file: string, errors: PytorchErrors) {
    this.file = file;
    this.errors = errors;
  }

  corrupt(what: string, hint = "Download or copy the file again"): never {
    throw new CodedError(this.errors.corrupt, `${this.file}: ${what}`, { hint });
  }

  unsupported(what: string, hint: string): never {
    throw new CodedError(this.errors.unsupported, `${this.file}: ${what}`, { hint });
  }
}

/** A name out of the file, as a message shows it. */
export function quoted(name: string): string {
  return JSON.stringify(name.length > 200 ? `${name.slice(0, 200)}...` : name);
}

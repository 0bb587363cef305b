import type { FromWorker, SetupFailure } from "./protocol.ts";
import type { Secrets } from "./secrets.ts";

/**
 * A worker's message without secrets. Printed lines had theirs taken out where they were cut (LineBuffer); outputs are the
 * author's own affair.
 */
export function withoutSecrets(message: FromWorker, secrets: Secrets): FromWorker {
  switch (message.type) {
    case "stack":
      return { ...message, data: secrets.mask(message.data) };
    case "metric":
      return { ...message, name: secrets.mask(message.name), value: secrets.maskValue(message.value) };
    case "end":
      return message.error === undefined ? message : { ...message, error: maskedError(message.error, secrets) };
    case "health":
      return message.error === null ? message : { ...message, error: maskedError(message.error, secrets) };
    case "setupFailed":
      return { ...message, error: secrets.mask(message.error), coded: maskedParts(message.coded, secrets) };
    default:
      return message;
  }
}

/** A secret such as "FILE" must not change the code that a client looks at. */
export function maskedError(error: string, secrets: Secrets): string {
  const code = /^\[[A-Z_]+\] /.exec(error)?.[0] ?? "";
  return code + secrets.mask(error.slice(code.length));
}

function maskedParts(coded: SetupFailure["coded"], secrets: Secrets): SetupFailure["coded"] {
  if (coded === null) return null;
  const { code, message, hint } = coded;
  return { code, message: secrets.mask(message), ...(hint === undefined ? {} : { hint: secrets.mask(hint) }) };
}

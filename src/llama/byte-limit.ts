import { CodedError } from "../errors/index.ts";

/**
 * The bytes that a variable allows, from `least` on; undefined where it is unset or empty.
 * @throws ENGINE_ARGUMENT naming the variable and the value
 */
export function byteLimit(variable: string, env: NodeJS.ProcessEnv, least = 1): number | undefined {
  const text = env[variable];
  if (text === undefined || text === "") return undefined;
  const bytes = /^\d{1,15}$/.test(text) ? Number(text) : -1;
  if (bytes >= least) return bytes;
  throw new CodedError("ENGINE_ARGUMENT", `${variable} is ${JSON.stringify(text)}, not a number of bytes`, {
    hint: `Unset ${variable}, or set it to bytes written in digits.`,
  });
}

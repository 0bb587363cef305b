import { CodedError } from "../../errors/index.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

export function isSet(env: Environment, name: string): boolean {
  return env[name] !== undefined && env[name] !== "";
}

/** null where it is not set. @throws CodedError DISTRIBUTED_ENVIRONMENT when it is no integer between the bounds */
export function integer(env: Environment, name: string, least: number, most: number): number | null {
  if (!isSet(env, name)) return null;
  const text = env[name]!;
  const value = Number(text);
  if (/^\d{1,10}$/.test(text) && value >= least && value <= most) return value;
  throw wrong(`${name} is ${JSON.stringify(text.slice(0, 100))}, not an integer from ${least} to ${most}`);
}

export function wrong(message: string, hint?: string): CodedError {
  return new CodedError("DISTRIBUTED_ENVIRONMENT", message, { hint });
}

import { CodedError } from "../errors/index.ts";

/** A variable's integer; null where it is absent, empty or "auto". Throws ENGINE_ARGUMENT naming it. */
export function readInteger(env: NodeJS.ProcessEnv, name: string, least: number, most: number): number | null {
  const text = env[name];
  if (text === undefined || text === "" || text === "auto") return null;
  const value = Number(text);
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw new CodedError("ENGINE_ARGUMENT", `${name} is "${text}", allowed are ${least} to ${most}`);
}

/** LLAMA_CACHE_BYTES: at most for keys and values of all sequences; 0 is a share of what the loaded weights leave. */
export function readCacheBytes(env: NodeJS.ProcessEnv): number {
  return readInteger(env, "LLAMA_CACHE_BYTES", 0, Number.MAX_SAFE_INTEGER) ?? 0;
}

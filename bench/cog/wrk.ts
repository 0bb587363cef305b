import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";

export interface Load {
  readonly url: string;
  readonly body: object;
  readonly connections: number;
  readonly seconds: number;
  readonly accept?: string;
  readonly token?: string;
}

export interface Measured {
  /** Answers with status 2xx. */
  readonly perSecond: number;
  readonly meanMs: number;
  /** Of all answers, those with another status. */
  readonly refused: number;
}

const script = join(import.meta.dirname, "post.lua");

/** Sends requests as fast as they are answered, one at a time on each connection. Throws where wrk is not installed. */
export async function load({ url, body, connections, seconds, accept, token }: Load): Promise<Measured> {
  const words = ["-t1", `-c${connections}`, `-d${seconds}s`, "--timeout", "30s", "-s", script, `${url}/predictions`];
  const env: NodeJS.ProcessEnv = { ...process.env, BODY: JSON.stringify(body) };
  if (accept !== undefined) env.ACCEPT = accept;
  if (token !== undefined) env.TOKEN = token;
  const { stdout } = await promisify(execFile)("wrk", words, { env });
  const number = (pattern: RegExp) => Number(pattern.exec(stdout)?.[1] ?? Number.NaN);
  const total = number(/(\d+) requests in/);
  const refused = number(/Non-2xx or 3xx responses: (\d+)/) || 0;
  const [, mean = "", unit = ""] = /Latency\s+([\d.]+)(us|ms|s)/.exec(stdout) ?? [];
  return {
    perSecond: (number(/Requests\/sec:\s+([\d.]+)/) * (total - refused)) / total,
    meanMs: Number(mean) * { us: 0.001, ms: 1, s: 1000 }[unit]!,
    refused: refused / total,
  };
}

export async function wrkVersion(): Promise<string> {
  // It prints its version with its usage, and calls that an error.
  const { stdout, stderr } = await promisify(execFile)("wrk", ["--version"]).catch((error) => {
    if (error.code === "ENOENT") throw new Error("this benchmark needs wrk (Debian's package wrk)");
    return error as { stdout: string; stderr: string };
  });
  return /wrk \S+/.exec(stdout + stderr)?.[0] ?? "wrk";
}

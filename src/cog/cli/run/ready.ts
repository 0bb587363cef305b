import { setTimeout as sleep } from "node:timers/promises";
import { Failure } from "../failure.ts";
import { say } from "../terminal.ts";
import { type ModelClient, Unreachable } from "./client.ts";
import { codedFailure } from "./outcome.ts";

const pollMs = 50;

export interface ReadyOptions {
  /** Limit for the setup; 0 is at once, not never. */
  timeoutSeconds: number;
  signal: AbortSignal;
  /** A server that others use too: busy is not an error there, an unreachable one is. */
  remote: boolean;
}

/** Waits until the model's setup is done. @throws Failure when it failed, took too long, or the server is not well */
export async function waitUntilReady(
  client: ModelClient,
  { timeoutSeconds, signal, remote }: ReadyOptions,
): Promise<void> {
  const deadline = performance.now() + timeoutSeconds * 1000;
  while (performance.now() < deadline) {
    const health = await client.health(signal).catch((error: unknown) => {
      if (error instanceof Unreachable && !remote) return undefined;
      throw error;
    });
    switch (health?.status) {
      case undefined:
      case "STARTING":
        break;
      case "READY":
        return;
      case "SETUP_FAILED":
        throw setupFailure(health!.setup?.logs ?? "", remote);
      default:
        if (remote && health!.status === "BUSY") return;
        throw new Failure(`Container healthcheck returned unexpected status: ${health!.status}`);
    }
    await sleep(pollMs, undefined, { signal });
  }
  throw new Failure("Timed out");
}

const printedBySetup = "[coglet::setup] ";

/** Why the setup failed; what is not in the message is printed: of a server's log all, of our own what is not there yet. */
function setupFailure(logs: string, remote: boolean): Failure {
  const coded = codedFailure(logs);
  if (coded) return coded;
  const lines = logs.split("\n").filter((line) => remote || !line.startsWith(printedBySetup));
  const text = lines.join("\n").trimEnd();
  if (text !== "") say(text);
  return new Failure("Model setup failed");
}

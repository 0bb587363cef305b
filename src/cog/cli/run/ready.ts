import { setTimeout as sleep } from "node:timers/promises";
import { Failure } from "../../../terminal/failure.ts";
import { say } from "../../../terminal/streams.ts";
import { type ModelClient, Unreachable } from "./client.ts";
import { codedFailure, located } from "./outcome.ts";

const pollMs = 50;
const remotePollMs = 250;
/** A server that was started a moment ago opens its port within seconds; a wrong address never does. */
const closedPortMs = 5000;

export interface ReadyOptions {
  /** Limit for the setup; 0 is at once, not never. */
  timeoutSeconds: number;
  signal: AbortSignal;
  /** A server that others use too: busy is not an error there, an unreachable one is. */
  remote: boolean;
}

/** What a server that is ready says of itself. */
export interface ReadyServer {
  /** It runs this package. */
  isOurs: boolean;
}

/** Waits until the model's setup is done. @throws Failure when it failed, took too long, or the server is not well */
export async function waitUntilReady(
  client: ModelClient,
  { timeoutSeconds, signal, remote }: ReadyOptions,
): Promise<ReadyServer> {
  const started = performance.now();
  const deadline = started + timeoutSeconds * 1000;
  const isStarting = ({ how }: Unreachable) =>
    !remote || how === "broken" || (how === "refused" && performance.now() - started < closedPortMs);
  for (let isTold = !remote; performance.now() < deadline; ) {
    const health = await client.health(signal).catch((error: unknown) => {
      if (error instanceof Unreachable && isStarting(error)) return undefined;
      throw error;
    });
    switch (health?.status) {
      case undefined:
      case "STARTING":
        break;
      case "READY":
        return { isOurs: health!.version?.node !== undefined };
      case "SETUP_FAILED":
        throw setupFailure(health!.setup?.logs ?? "", remote);
      default:
        if (remote && health!.status === "BUSY") return { isOurs: health!.version?.node !== undefined };
        throw new Failure(`Container healthcheck returned unexpected status: ${health!.status}`);
    }
    if (!isTold) say(`Waiting for ${client.url}, which is starting...`);
    isTold = true;
    await sleep(remote ? remotePollMs : pollMs, undefined, { signal });
  }
  throw new Failure(remote ? `Timed out: ${client.url} was not ready after ${timeoutSeconds} seconds` : "Timed out");
}

/** The model's setup has thrown; `reason` is its error in one line. */
export class SetupFailed extends Failure {
  readonly reason: string;

  constructor(reason: string) {
    super("Model setup failed");
    this.reason = reason;
  }
}

const printedBySetup = "[coglet::setup] ";

/** Why the setup failed; what is not in the message is printed: of a server's log all, of our own what is not there yet. */
function setupFailure(logs: string, remote: boolean): Failure {
  const coded = codedFailure(logs);
  if (coded) return coded;
  const lines = logs.split("\n").filter((line) => remote || !line.startsWith(printedBySetup));
  const text = lines.join("\n").trimEnd();
  if (text !== "") say(text);
  return new SetupFailed(located(text));
}

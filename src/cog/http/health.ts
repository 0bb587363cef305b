import { mkdir, writeFile } from "node:fs/promises";
import type { Supervisor } from "../worker/supervisor.ts";

const readyFolder = "/var/run/cog";

/** The body of GET /health-check. */
export class HealthReport {
  readonly #supervisor: Supervisor;
  readonly #version: string;
  /** Kubernetes looks for a file once the model is ready. */
  #mustMark: boolean;

  constructor(supervisor: Supervisor, options: { version: string; isKubernetes: boolean }) {
    this.#supervisor = supervisor;
    this.#version = options.version;
    this.#mustMark = options.isKubernetes;
  }

  /** Why no prediction would be taken now, or the author's healthcheck's complaint; null: the server is ready. */
  async reasonNotReady(): Promise<string | null> {
    const { state, isGivenUp } = this.#supervisor;
    if (state === "ready") return this.#problem();
    if (state === "defunct" && isGivenUp) return "the process that runs the model has died too often";
    return reasons[state];
  }

  async body(): Promise<Record<string, unknown>> {
    const { state, slots } = this.#supervisor;
    const problem = state === "ready" ? await this.#problem() : null;
    const status =
      problem !== null ? "UNHEALTHY" : state === "ready" ? (slots.isFree ? "READY" : "BUSY") : names[state];
    if (status === "READY" && this.#mustMark) {
      this.#mustMark = false;
      await mkdir(readyFolder, { recursive: true })
        .then(() => writeFile(`${readyFolder}/ready`, ""))
        .catch(() => {});
    }
    return {
      status,
      setup: this.#setup(),
      version: { coglet: this.#version, node: process.versions.node },
      ...(problem === null ? {} : { user_healthcheck_error: problem }),
    };
  }

  /** Of a model that is set up. */
  async #problem(): Promise<string | null> {
    const { isSilent, hasHealthcheck } = this.#supervisor;
    if (isSilent) return silent;
    return hasHealthcheck ? await this.#supervisor.healthcheck.ask() : null;
  }

  #setup(): Record<string, unknown> {
    const { startedAt, completedAt, status, logs } = this.#supervisor.setup.record;
    return {
      started_at: timeText(startedAt),
      ...(completedAt === null ? {} : { completed_at: timeText(completedAt) }),
      status,
      ...(logs === "" ? {} : { logs }),
    };
  }
}

const silent = "the process that runs the model is stopped or frozen";

const names = {
  starting: "STARTING",
  setupFailed: "SETUP_FAILED",
  defunct: "DEFUNCT",
  stopped: "DEFUNCT",
};

const reasons = {
  starting: "setup has not finished",
  setupFailed: "setup has failed: see /health-check",
  defunct: "the process that runs the model has ended and is started again",
  stopped: "the server is stopping",
};

function timeText(time: Date): string {
  return time.toISOString().replace("Z", "+00:00");
}

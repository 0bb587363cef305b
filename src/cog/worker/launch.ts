import { beatMs } from "./heartbeat.ts";
import { type WorkerEvents, WorkerProcess } from "./process.ts";
import type { Secrets } from "./secrets.ts";
import type { SupervisorOptions } from "./supervisor-options.ts";

interface Launch {
  readonly secrets: Secrets;
  readonly holdSetup: boolean;
  readonly events: WorkerEvents;
}

/** Starts a process for the project's role and tells it what to load. */
export function launch(options: SupervisorOptions, { secrets, holdSetup, events }: Launch): WorkerProcess {
  const { project, role, weights, env, heartbeatLimitMs, cancelGraceMs } = options;
  const worker = new WorkerProcess({
    cwd: project.dir,
    // What guards the server is none of the author's business.
    env: { ...Object.fromEntries(project.environment), ...env, COG_AUTH_TOKEN: undefined },
    beatMs: beatMs(heartbeatLimitMs),
    cancelGraceMs,
    secrets,
    events,
  });
  const { predict, train, trainOutput } = project;
  worker.send({ type: "start", predict, train, trainOutput, role, weights, holdSetup });
  return worker;
}

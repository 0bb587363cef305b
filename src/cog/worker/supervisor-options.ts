import type { Log } from "../log.ts";
import type { Project } from "../project.ts";

export interface SupervisorOptions {
  readonly project: Project;
  readonly role: "predict" | "train";
  readonly weights: string | null;
  readonly setupTimeoutMs: number | null;
  /** Slots, where the environment or cog.yaml says so. */
  readonly concurrency: number | null;
  readonly env: NodeJS.ProcessEnv;
  readonly log: Log;
  /** The first worker loads the declarations, and waits for beginSetup() before its setup. */
  readonly holdSetup: boolean;
  /** A process that is not heard of for so long is silent. */
  readonly heartbeatLimitMs: number;
  /** After which the worker reports a canceled run that goes on. */
  readonly cancelGraceMs: number;
  /** After a run's cancel: when a silent process is ended if the run goes on. */
  readonly cancelLimitMs: number;
  /** And one that is heard, too: it has no other runs. */
  readonly endsStubbornRuns: boolean;
  /** A slot or the worker may be free, or gone, now. */
  readonly onChange: () => void;
  /** No slot is in use any more. */
  readonly onIdle: () => void;
}

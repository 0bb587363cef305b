import { Failure } from "./failure.ts";

/** Exit codes as shells give them: 128 and the number of the signal. */
const exitCodes = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/** EX_TEMPFAIL of sysexits.h: the command can be given again to go on. */
const resumable = 75;

/** Ends a command that was interrupted and has left something to go on with. */
export class Resumable extends Failure {
  constructor(message: string, hint: string) {
    super(message, { hint, exitCode: resumable });
  }
}

/**
 * Runs a task with a signal that Ctrl-C, SIGTERM and SIGHUP abort; the task then cleans up and the command ends with the
 * shell's exit code for the signal, or with that of a Resumable. A second Ctrl-C ends the process at once (the model's process ends with it).
 */
export async function interruptible<T>(task: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  let exitCode: number | undefined;
  const interrupt = (name: keyof typeof exitCodes) => {
    if (exitCode !== undefined) process.exit(exitCode);
    exitCode = exitCodes[name];
    controller.abort();
  };
  const names = Object.keys(exitCodes) as (keyof typeof exitCodes)[];
  for (const name of names) process.on(name, interrupt);
  try {
    return await task(controller.signal);
  } catch (error) {
    if (exitCode === undefined || error instanceof Resumable) throw error;
    throw new Failure("Canceled", { exitCode });
  } finally {
    for (const name of names) process.off(name, interrupt);
  }
}

export const healthcheckLimitMs = 5000;
export const healthcheckTimedOut = "healthcheck timed out after 5.0 seconds";

/**
 * The author's healthcheck, as the server asks for it. One call at a time, shared by all who ask meanwhile; a process too
 * busy to answer within the limit counts as unhealthy until it does.
 */
export class Healthcheck {
  readonly #call: () => void;
  #current: Promise<string | null> | null = null;
  #resolve: (problem: string | null) => void = () => {};

  /** `call` asks the process; its answer is handed to answered(). */
  constructor(call: () => void) {
    this.#call = call;
  }

  /** null is healthy, else the reason; after 5 s at the latest. */
  ask(): Promise<string | null> {
    this.#current ??= new Promise((resolve) => {
      const timer = setTimeout(() => resolve(healthcheckTimedOut), healthcheckLimitMs);
      this.#resolve = (problem) => {
        clearTimeout(timer);
        resolve(problem);
      };
      this.#call();
    });
    return this.#current;
  }

  /** The process has answered, or is gone. */
  answered(problem: string | null): void {
    this.#current = null;
    this.#resolve(problem);
  }
}

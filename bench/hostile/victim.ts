import { fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";

export interface Heard {
  /** Milliseconds. */
  readonly longest: number;
  /** Streams that were refused or ended otherwise than they should. */
  readonly lost: number;
}

/** Another client's stream, in a process of its own: what the attack costs the attacker must not show in it. */
export class Victim {
  readonly #child;
  readonly #exited;

  constructor(url: string, token: string, input: object) {
    this.#child = fork(join(import.meta.dirname, "victim.mjs"), [url, token, JSON.stringify(input)]);
    this.#exited = once(this.#child, "exit");
  }

  /** Since the last call. */
  async heard(): Promise<Heard> {
    const answer = once(this.#child, "message");
    this.#child.send("heard?");
    return ((await answer) as [Heard])[0];
  }

  async stop(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#exited;
  }
}

import type { EngineModel, EngineSequence, Sampling, StepRequest } from "../../engine/engine.ts";

/** A sequence that is being generated. */
export interface Task {
  readonly sequence: EngineSequence;
  /** The prompt. */
  readonly tokens: Int32Array;
  /** How to draw its next token. */
  sampling(): Sampling;
  /** Tokens after which no more is wanted; null where none is anyway. */
  endings(): Int32Array | null;
  /** A token was drawn; true when another is wanted. */
  take(token: number): boolean;
  /** The step failed; no more comes. */
  fail(error: unknown): void;
}

interface Running {
  readonly task: Task;
  /** Not in the cache yet: the rest of the prompt, later the last drawn token. */
  pending: Int32Array;
}

/** Prompt tokens of one step while others wait for their next token, so that who joins costs them one such step. */
const sharedPrefill = 128;
/** Prompt tokens of one step while nobody waits. */
const lonePrefill = 512;

/**
 * Continuous batching: every step takes all running sequences one token further, and prompts in chunks beside them,
 * the one that came first before the others. Sequences join and leave between steps.
 */
export class Scheduler {
  readonly #model: Pick<EngineModel, "step">;
  readonly #running = new Map<Task, Running>();
  #stepping: Promise<void> | null = null;
  #currentStep: Promise<unknown> = Promise.resolve();

  constructor(model: Pick<EngineModel, "step">) {
    this.#model = model;
  }

  add(task: Task): void {
    this.#running.set(task, { task, pending: task.tokens });
    this.#stepping ??= this.#run().finally(() => {
      this.#stepping = null;
    });
  }

  /** Takes a task out; when this resolves, no step uses its sequence any more. */
  async remove(task: Task): Promise<void> {
    this.#running.delete(task);
    await this.#currentStep;
  }

  async #run(): Promise<void> {
    // Whoever was added in the same turn starts with the same step.
    await Promise.resolve();
    while (this.#running.size > 0) {
      const chosen = this.#choose();
      const step = this.#model.step(chosen.map(({ request }) => request));
      this.#currentStep = step.catch(() => {});
      try {
        const results = await step;
        for (const [i, { running, request }] of chosen.entries()) this.#advance(running, request, results[i]!.token);
      } catch (error) {
        for (const { running } of chosen) this.#tell(running, (task) => task.fail(error));
      }
    }
  }

  #choose(): { running: Running; request: StepRequest }[] {
    const all = [...this.#running.values()];
    let room = all.some(({ pending }) => pending.length === 1) ? sharedPrefill : lonePrefill;
    const chosen: { running: Running; request: StepRequest }[] = [];
    for (const running of all) {
      const { task, pending } = running;
      const count = pending.length === 1 ? 1 : Math.min(pending.length, room);
      if (count === 0) continue;
      if (pending.length > 1) room -= count;
      const sampling = count === pending.length ? task.sampling() : null;
      const continuesUnless = (sampling && task.endings()) ?? undefined;
      const tokens = pending.subarray(0, count);
      chosen.push({ running, request: { sequence: task.sequence, tokens, sampling, continuesUnless } });
    }
    return chosen;
  }

  #advance(running: Running, { tokens, sampling }: StepRequest, token: number): void {
    if (sampling === null) {
      running.pending = running.pending.subarray(tokens.length);
    } else if (token < 0) {
      const error = new Error("the model's scores are not finite numbers: its weights or the adapter overflow");
      this.#tell(running, (task) => task.fail(error));
    } else {
      running.pending = Int32Array.of(token);
      this.#tell(running, (task) => task.take(token));
    }
  }

  /** Tells the task, unless it has left meanwhile, and forgets it when it wants no more. */
  #tell(running: Running, message: (task: Task) => unknown): void {
    const { task } = running;
    if (this.#running.get(task) !== running) return;
    if (message(task) !== true) this.#running.delete(task);
  }
}

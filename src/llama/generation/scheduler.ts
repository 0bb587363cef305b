import type { EngineModel, EngineSequence, Sampling, StepRequest, StepResult } from "../../engine/engine.ts";

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
  /** It has failed; no more comes. Does not throw. */
  fail(error: unknown): void;
}

interface Running {
  readonly task: Task;
  /** Not in the cache yet: the rest of the prompt, later the last drawn token. */
  pending: Int32Array;
}

interface Chosen {
  readonly running: Running;
  readonly request: StepRequest;
}

/** Prompt tokens of one step while others wait for their next token, so that who joins costs them one such step. */
const sharedPrefill = 128;
/** Prompt tokens of one step while nobody waits. */
const lonePrefill = 512;

/**
 * Continuous batching: every step takes all running sequences one token further, and prompts in chunks beside them,
 * the one that came first before the others. Sequences join and leave between steps. What one of them does wrong, in its
 * request or in its task's own code, ends that one.
 */
export class Scheduler {
  readonly #model: Pick<EngineModel, "step">;
  readonly #running = new Map<Task, Running>();
  #isStepping = false;
  #currentStep: Promise<unknown> = Promise.resolve();

  constructor(model: Pick<EngineModel, "step">) {
    this.#model = model;
  }

  add(task: Task): void {
    this.#running.set(task, { task, pending: task.tokens });
    if (!this.#isStepping) void this.#run();
  }

  /** Takes a task out; when this resolves, no step uses its sequence any more. */
  async remove(task: Task): Promise<void> {
    this.#running.delete(task);
    await this.#currentStep;
  }

  async #run(): Promise<void> {
    this.#isStepping = true;
    // Whoever was added in the same turn starts with the same step.
    await Promise.resolve();
    while (this.#running.size > 0) {
      const chosen = this.#choose();
      if (chosen.length > 0) await this.#step(chosen);
    }
    // In the same turn as the check: who is added after it starts a new run.
    this.#isStepping = false;
  }

  async #step(chosen: readonly Chosen[]): Promise<void> {
    const step = (async () => this.#model.step(chosen.map(({ request }) => request)))();
    this.#currentStep = step.catch(() => {});
    let results: StepResult[];
    try {
      results = await step;
    } catch (error) {
      for (const { running } of chosen) this.#fail(running, error);
      return;
    }
    for (const [i, { running, request }] of chosen.entries()) this.#advance(running, request, results[i]!);
  }

  #choose(): Chosen[] {
    const all = [...this.#running.values()];
    let room = all.some(({ pending }) => pending.length === 1) ? sharedPrefill : lonePrefill;
    const chosen: Chosen[] = [];
    for (const running of all) {
      const { length } = running.pending;
      const count = length > 1 ? Math.min(length, room) : length;
      if (count === 0 && length > 0) continue;
      if (length > 1) room -= count;
      try {
        chosen.push({ running, request: this.#request(running, count) });
      } catch (error) {
        this.#fail(running, error);
      }
    }
    return chosen;
  }

  /** For the first `count` of its pending tokens. */
  #request({ task, pending }: Running, count: number): StepRequest {
    const sampling = count === pending.length ? task.sampling() : null;
    const continuesUnless = (sampling && task.endings()) ?? undefined;
    return { sequence: task.sequence, tokens: pending.subarray(0, count), sampling, continuesUnless };
  }

  #advance(running: Running, { tokens, sampling }: StepRequest, { token, error }: StepResult): void {
    const { task } = running;
    if (this.#running.get(task) !== running) return;
    if (error) {
      this.#fail(running, error);
    } else if (sampling === null) {
      running.pending = running.pending.subarray(tokens.length);
    } else {
      running.pending = Int32Array.of(token);
      try {
        if (!task.take(token)) this.#running.delete(task);
      } catch (cause) {
        this.#fail(running, cause);
      }
    }
  }

  /** Ends the task, unless it has left meanwhile. */
  #fail(running: Running, error: unknown): void {
    const { task } = running;
    if (this.#running.get(task) !== running) return;
    this.#running.delete(task);
    task.fail(error);
  }
}

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { EngineModel, EngineSequence, Sampling, StepRequest } from "../../../src/engine/engine.ts";
import { Scheduler, type Task } from "../../../src/llama/generation/scheduler.ts";
import { Llama } from "../../../src/llama/index.ts";
import { randomAdapter } from "../../engine/random-model.ts";
import { tinyConfig, writeTinyCheckpoint } from "./tiny-checkpoint.ts";

let folder: string;
let llama: Llama;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "scheduler-test-"));
  await writeTinyCheckpoint(folder);
  llama = await Llama.load({ weights: folder });
});
afterAll(async () => {
  await llama.close();
  rmSync(folder, { recursive: true });
});

/** The tokens per sequence of every step, on the real model. */
function recorded() {
  const steps: number[][] = [];
  const model: Pick<EngineModel, "step"> = {
    step: (requests: readonly StepRequest[]) => {
      steps.push(requests.map(({ tokens }) => tokens.length));
      return llama.model.step(requests);
    },
  };
  return { steps, scheduler: new Scheduler(model) };
}

interface Wanted {
  readonly prompt: number;
  readonly count: number;
  readonly sequence?: EngineSequence;
  /** In place of the task's own. */
  readonly change?: Partial<Task>;
}

/** Adds a task that draws `count` tokens greedily after a prompt of this length. */
async function add(scheduler: Scheduler, { prompt, count, sequence: given, change }: Wanted): Promise<number[]> {
  const sequence = given ?? (await llama.model.createSequence({ capacity: 512 }));
  const drawn: number[] = [];
  const greedy = { temperature: 0, topP: 1, topK: 0, repetitionPenalty: 1, seed: 0 };
  try {
    return await new Promise<number[]>((resolve, reject) => {
      scheduler.add({
        sequence,
        tokens: new Int32Array(prompt).fill(5),
        sampling: (): Sampling => ({ ...greedy, index: drawn.length }),
        endings: () => (drawn.length + 1 < count ? Int32Array.of() : null),
        take: (token) => {
          drawn.push(token);
          if (drawn.length === count) resolve(drawn);
          return drawn.length < count;
        },
        fail: reject,
        ...change,
      });
    });
  } finally {
    sequence.close();
  }
}

/** Tasks that start together. */
async function together(scheduler: Scheduler, ...wanted: Wanted[]): Promise<number[][]> {
  const sequences = await Promise.all(wanted.map(() => llama.model.createSequence({ capacity: 512 })));
  return Promise.all(wanted.map((one, i) => add(scheduler, { sequence: sequences[i]!, ...one })));
}

describe("the scheduler", () => {
  it("takes running sequences one token further in every step that reads a prompt", async () => {
    const { steps, scheduler } = recorded();
    await together(scheduler, { prompt: 1, count: 8 }, { prompt: 300, count: 2 }, { prompt: 40, count: 2 });
    expect(steps).toEqual([[1, 128], [1, 128], [1, 44, 40], [1, 1, 1], [1], [1], [1], [1]]);
  });

  it("reads a prompt in larger chunks while nobody waits", async () => {
    const { steps, scheduler } = recorded();
    await together(scheduler, { prompt: 500, count: 1 });
    expect(steps).toEqual([[500]]);
  });

  it("draws the same tokens however a prompt was cut", async () => {
    const { scheduler } = recorded();
    const [alone] = await together(scheduler, { prompt: 300, count: 5 });
    const [, beside] = await together(scheduler, { prompt: 1, count: 20 }, { prompt: 300, count: 5 });
    expect(beside).toEqual(alone);
  });

  it("serves a task that is added in any of the microtasks after the last token", async () => {
    const { scheduler } = recorded();
    for (let microtasks = 0; microtasks < 12; microtasks++) {
      const sequence = await llama.model.createSequence({ capacity: 8 });
      const next = await new Promise<Promise<number[]>>((resolve) => {
        const take = () => {
          let hops = Promise.resolve();
          for (let i = 0; i < microtasks; i++) hops = hops.then(() => {});
          void hops.then(() => resolve(add(scheduler, { prompt: 2, count: 1, sequence })));
          return false;
        };
        void add(scheduler, { prompt: 1, count: 1, change: { take } });
      });
      expect(await next).toHaveLength(1);
    }
  });

  it("fails the one task whose request is wrong or whose own code throws, the others bit for bit as alone", async () => {
    const { scheduler } = recorded();
    const victim = { prompt: 20, count: 30 };
    const [alone] = await together(scheduler, victim);
    const throws = (message: string) => () => {
      throw new Error(message);
    };
    const huge = randomAdapter(tinyConfig, 1).map((module) => ({ ...module, b: module.b.map(() => 1e38), scale: 1e6 }));
    const adapter = await llama.model.createAdapter(huge);
    const closed = await llama.model.createSequence({ capacity: 8 });
    closed.close();
    const sampling = (change: Partial<Sampling>) => () => ({
      ...{ temperature: 0, topP: 1, topK: 0, repetitionPenalty: 1, seed: 0, index: 0 },
      ...change,
    });
    const wrong: [Wanted, object][] = [
      [{ prompt: 3, count: 9, change: { sampling: sampling({ topK: 1e17 }) } }, { code: "ENGINE_ARGUMENT" }],
      [{ prompt: 3, count: 9, change: { sampling: sampling({ seed: 2 ** 60 }) } }, { code: "ENGINE_ARGUMENT" }],
      [
        { prompt: 3, count: 9, change: { sampling: sampling({ temperature: Number.NaN }) } },
        { code: "ENGINE_ARGUMENT" },
      ],
      [{ prompt: 0, count: 9 }, { code: "ENGINE_ARGUMENT" }],
      [{ prompt: 3, count: 9, sequence: closed }, { code: "ENGINE_ARGUMENT" }],
      [
        { prompt: 3, count: 9, sequence: await llama.model.createSequence({ capacity: 5 }) },
        { code: "ENGINE_ARGUMENT" },
      ],
      [
        { prompt: 3, count: 9, sequence: await llama.model.createSequence({ capacity: 64, adapter }) },
        { code: "LOGITS_NOT_FINITE" },
      ],
      [{ prompt: 3, count: 9, change: { sampling: throws("sampling") } }, { message: "sampling" }],
      [{ prompt: 3, count: 9, change: { endings: throws("endings") } }, { message: "endings" }],
      [{ prompt: 3, count: 9, change: { take: throws("take") } }, { message: "take" }],
    ];
    const sequence = await llama.model.createSequence({ capacity: 512 });
    const running = add(scheduler, { ...victim, sequence });
    await Promise.all(wrong.map(([wanted, error]) => expect(add(scheduler, wanted)).rejects.toMatchObject(error)));
    expect(await running).toEqual(alone);
    expect(await add(scheduler, victim)).toEqual(alone);
  });

  it("fails all of a step that is not possible as a whole, and serves the next", async () => {
    let isBroken = true;
    const scheduler = new Scheduler({
      step: (requests) => {
        if (isBroken) throw new Error("the device is gone");
        return llama.model.step(requests);
      },
    });
    const both = [add(scheduler, { prompt: 2, count: 2 }), add(scheduler, { prompt: 3, count: 2 })];
    for (const one of both) await expect(one).rejects.toThrow("the device is gone");
    isBroken = false;
    expect(await add(scheduler, { prompt: 2, count: 2 })).toHaveLength(2);
  });
});

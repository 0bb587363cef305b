import { readdirSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, it } from "vitest";
import { Runs, startDesk, until } from "./endings.ts";
import type { Receiver } from "./receiver.ts";
import { buildDist, type ServerProcess, startServerProcess } from "./server-process.ts";

const dir = fileURLToPath(new URL("fixtures/endings", import.meta.url));
beforeAll(buildDist);

interface Ending {
  readonly input: (desk: string, id: string) => object;
  /** What happens to the run after its start. `id` is in the names of its files. */
  readonly during?: (runs: Runs, id: string) => Promise<unknown>;
  readonly status: "succeeded" | "failed" | "canceled" | RegExp;
  readonly error?: RegExp;
  /** The author's function goes on after the answer, in its slot. */
  readonly lingers?: true;
}

const kill = (runs: Runs) => process.kill(runs.pid, "SIGKILL");

const endings: Record<string, Ending> = {
  "returns without files": { input: () => ({}), status: "succeeded" },
  "returns files": { input: () => ({ files: ["a.txt", "b.txt"] }), status: "succeeded" },
  throws: { input: () => ({ end: "throw" }), status: "failed", error: /^no more$/ },
  "throws after a slow upload began": {
    input: (_, id) => ({ files: [`slow-${id}.txt`], end: "throw" }),
    status: "failed",
    error: /^no more$/,
  },
  "hands out a file that is refused": {
    input: () => ({ files: ["refused.txt"] }),
    status: "failed",
    error: /upload returned status 500/,
  },
  "hands out a file whose upload breaks": {
    input: () => ({ files: ["reset.txt"] }),
    status: "failed",
    error: /OUTPUT_UPLOAD/,
  },
  "hands out a file that is not there": {
    input: () => ({ files: ["missing.txt"] }),
    status: "failed",
    error: /OUTPUT_INVALID.*missing\.txt/,
  },
  "hands out many files, some of them refused": {
    input: () => ({ files: ["a.txt", "refused.txt", "b.txt", "missing.txt", "refused.txt", "c.txt"] }),
    status: "failed",
    error: /upload returned status 500/,
  },
  "is given a file that cannot be had": {
    input: (desk) => ({ given: `${desk}/refused` }),
    status: "failed",
    error: /INPUT_FILE/,
  },
  "is canceled at once": { input: () => ({ end: "hold" }), during: (runs, id) => runs.cancel(id), status: "canceled" },
  "is canceled while its input is fetched": {
    input: (desk, id) => ({ given: `${desk}/hang-${id}` }),
    during: async (runs, id) => {
      await runs.atDesk(id);
      await runs.cancel(id);
    },
    status: "canceled",
  },
  "is canceled while it runs": {
    input: (_, id) => ({ files: [`${id}.txt`], end: "hold" }),
    during: async (runs, id) => {
      await runs.running(id);
      await runs.cancel(id);
    },
    status: "canceled",
  },
  "is canceled during an upload": {
    input: (_, id) => ({ files: [`hang-${id}.txt`] }),
    during: async (runs, id) => {
      await runs.atDesk(id);
      await runs.cancel(id);
    },
    status: "canceled",
  },
  "is canceled after a refused file": {
    input: (_, id) => ({ files: [`refused-${id}.txt`, `hang-${id}.txt`] }),
    during: async (runs, id) => {
      await runs.atDesk(id, 2);
      await runs.cancel(id);
    },
    status: "canceled",
  },
  "does not listen to its cancel": {
    input: (_, id) => ({ files: [`refused-${id}.txt`], end: "deaf", ms: 7000 }),
    during: async (runs, id) => {
      await runs.running(id);
      await runs.cancel(id);
    },
    status: "canceled",
    lingers: true,
  },
  "loses its process while its input is fetched": {
    input: (desk, id) => ({ given: `${desk}/slow-${id}` }),
    during: async (runs, id) => {
      await runs.atDesk(id);
      kill(runs);
    },
    // It goes on where the new process is there in time.
    status: /succeeded|failed/,
  },
  "loses its process while it runs": {
    input: () => ({ end: "hold" }),
    during: async (runs, id) => {
      await runs.running(id);
      kill(runs);
    },
    status: "failed",
    error: /WORKER_DIED/,
  },
  "loses its process during the last upload": {
    input: (_, id) => ({ files: [`slow-${id}.txt`] }),
    during: async (runs, id) => {
      await runs.atDesk(id);
      kill(runs);
    },
    status: "succeeded",
  },
  "loses its process after its cancel": {
    input: () => ({ end: "deaf", ms: 600_000 }),
    during: async (runs, id) => {
      await runs.running(id);
      await runs.cancel(id);
      await runs.over(id);
      kill(runs);
    },
    status: "canceled",
    lingers: true,
  },
};

const servers = [
  { title: "a generator in one slot", family: "predictions", slots: "1", stub: "generator.ts" },
  { title: "a function in one slot", family: "predictions", slots: "1", stub: "scalar.ts" },
  { title: "a generator in one of several slots", family: "predictions", slots: "3", stub: "generator.ts" },
  { title: "a function in one of several slots", family: "predictions", slots: "3", stub: "scalar.ts" },
  { title: "a training", family: "trainings", slots: "1", stub: "generator.ts" },
] as const;

for (const { title, family, slots, stub } of servers) {
  describe.concurrent(`the slot of ${title}`, () => {
    let desk: Receiver;
    let server: ServerProcess;
    let runs: Runs;
    beforeAll(async () => {
      desk = await startDesk();
      const env = { COG_MAX_CONCURRENCY: slots, COG_PREDICT_TYPE_STUB: stub };
      server = await startServerProcess({ dir, env, flags: ["--upload-url", desk.url] });
      await server.until("READY");
      runs = new Runs(server, desk, family);
    });
    afterAll(async () => {
      await server?.kill();
      desk?.close();
    });

    for (const [index, [name, ending]] of Object.entries(endings).entries()) {
      it.sequential(`is free after a run that ${name}`, async ({ expect }) => {
        const id = `run${index}.`;
        expect(await runs.start(id, ending.input(desk.url, id))).toMatchObject({ http: 202 });
        await ending.during?.(runs, id);
        const outcome = await runs.over(id);
        expect(outcome.status).toMatch(ending.status);
        if (ending.error !== undefined) expect(outcome.error).toMatch(ending.error);
        if (ending.lingers) {
          await until(async () => (await runs.slotsInUse()) === 0);
          await until(async () => (await runs.post({})).http === 200);
        }
        // After a death the slot is there as soon as the new process is.
        await server.until("READY");
        expect(await runs.post({ files: ["next.txt"] })).toMatchObject({ http: 200, status: "succeeded" });
        expect(await runs.slotsInUse()).toBe(0);
        expect(readdirSync(server.tempDir)).toEqual([]);
      });
    }
  });
}

describe("the slots of a server", () => {
  const mostRuns = 150;

  it("are all free after many runs of all kinds, ended and canceled at random", async ({ expect }) => {
    const desk = await startDesk();
    const env = { COG_MAX_CONCURRENCY: "3", COG_QUEUE_LENGTH: String(mostRuns) };
    const server = await startServerProcess({ dir, env, flags: ["--upload-url", desk.url] });
    await server.until("READY");
    const random = randomFrom(20_240_607);
    const pick = <T>(values: readonly T[]) => values[Math.floor(random() * values.length)]!;
    const families = {
      predictions: new Runs(server, desk, "predictions"),
      trainings: new Runs(server, desk, "trainings"),
    };
    const work: Promise<unknown>[] = [];
    let deaths = 0;
    for (let index = 0; index < mostRuns; index++) {
      const runs = families[random() < 0.1 ? "trainings" : "predictions"];
      const id = `r${index}`;
      const end = pick(["return", "return", "throw", "hold", "deaf"]);
      // Some do not listen for longer than a run is waited for after its cancel.
      const ms = random() < 0.05 ? 7000 : Math.floor(random() * 300);
      const files = Array.from({ length: Math.floor(random() * 4) }, () =>
        pick(["a.txt", "b.txt", "refused.txt", "reset.txt", "missing.txt", "slow.txt", "hang.txt"]),
      );
      const given = pick([undefined, undefined, `${desk.url}/given`, `${desk.url}/refused`, `${desk.url}/hang`]);
      expect(await runs.start(id, { end, ms, files, ...(given && { given }) })).toMatchObject({ http: 202 });
      const mustCancel = end === "hold" || files.includes("hang.txt") || given?.endsWith("hang");
      if (mustCancel || random() < 0.3) work.push(sleep(random() * 2000).then(() => runs.cancel(id)));
      if (index % 50 === 49) {
        process.kill(families.predictions.pid, "SIGKILL");
        deaths += 1;
        await until(async () => (await families.predictions.deaths()) === deaths);
      }
      if (random() < 0.3) await sleep(random() * 50);
      // A server whose process is started again takes nothing.
      await server.until("READY", "BUSY");
      work.push(runs.over(id));
    }
    await Promise.all(work);
    await server.until("READY");
    expect(await families.predictions.slotsInUse()).toBe(0);
    expect(readdirSync(server.tempDir)).toEqual([]);
    const together = Array.from({ length: 3 }, () => families.predictions.post({ files: ["z.txt"] }));
    for (const answer of await Promise.all([...together, families.trainings.post({})])) {
      expect(answer).toMatchObject({ http: 200, status: "succeeded" });
    }
    await server.kill();
    desk.close();
  });

  it("are free whether a function returns before or after its run is told to have been canceled", async ({
    expect,
  }) => {
    const count = 16;
    const desk = await startDesk();
    const server = await startServerProcess({ dir, env: { COG_MAX_CONCURRENCY: String(count) } });
    await server.until("READY");
    const runs = new Runs(server, desk, "predictions");
    const ids = Array.from({ length: count }, (_, index) => `r${index}`);
    const [files, litter] = [["a.txt"], 500];
    // After five seconds a run is told without its function, once its folder is gone; some return just then.
    for (const [index, id] of ids.entries()) await runs.start(id, { files, end: "late", ms: 4990 + 3 * index, litter });
    for (const id of ids) await until(async () => (await runs.read(id)).output !== undefined);
    for (const id of ids) await runs.cancel(id);
    for (const id of ids) expect(await runs.over(id)).toMatchObject({ status: "canceled" });
    await until(async () => (await runs.slotsInUse()) === 0);
    expect(readdirSync(server.tempDir)).toEqual([]);
    for (const answer of await Promise.all(ids.map(() => runs.post({})))) expect(answer).toMatchObject({ http: 200 });
    await server.kill();
    desk.close();
  });

  /** Where a run is when the server is told to stop at once. */
  const moments: Record<string, (runs: Runs, desk: string) => Promise<unknown>> = {
    "its input is fetched": async (runs, desk) => {
      await runs.start("r", { given: `${desk}/hang-in` });
      await runs.atDesk("hang-in");
    },
    "it runs": async (runs) => {
      await runs.start("r", { end: "hold" });
      await runs.running("r");
    },
    "its output is uploaded": async (runs) => {
      await runs.start("r", { files: ["hang-out.txt"] });
      await runs.atDesk("hang-out");
    },
    "it goes on after its cancel": async (runs) => {
      await runs.start("r", { files: ["a.txt"], end: "deaf", ms: 2 ** 30 });
      await runs.running("r");
      await runs.cancel("r");
      await runs.over("r");
    },
  };

  for (const family of ["predictions", "trainings"] as const) {
    it.for(Object.entries(moments))(
      `do not keep a server from ending (${family}) while %s`,
      async ([, act], { expect }) => {
        const desk = await startDesk();
        const server = await startServerProcess({ dir, flags: ["--upload-url", desk.url] });
        await server.until("READY");
        await act(new Runs(server, desk, family), desk.url);
        server.child.kill("SIGTERM");
        await sleep(100);
        server.child.kill("SIGTERM");
        expect(await server.exited).toEqual({ code: 0, signal: null });
        expect(readdirSync(server.tempDir)).toEqual([]);
        desk.close();
      },
    );
  }
});

/** The same numbers from 0 to 1 for the same seed (mulberry32). */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

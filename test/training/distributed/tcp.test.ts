import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { freePort } from "../../../scripts/free-port.mjs";
import type { Dropout, EngineModel, Ranks } from "../../../src/engine/engine.ts";
import { openEngine } from "../../../src/engine/open.ts";
import { Llama, openAdapter } from "../../../src/llama/index.ts";
import {
  type AdapterModule,
  AdapterOutput,
  type InstructionRow,
  readDataset,
  type TrainingResult,
  type TrainingRun,
  trainLora,
} from "../../../src/training/index.ts";
import { buildCommand, lastLine, resultOf } from "../../cog/cli/command.ts";
import { root, weights } from "../../weights/embedded-base.ts";
import { dataset, distances, environment, isa, settings, torchVariables } from "./launch.ts";

// Each rank has a model of its own, and with it a thread of its own: several of them live in this process.
let bases: Llama[];
let rows: InstructionRow[];
beforeAll(async () => {
  const engine = await openEngine({ ...process.env, LLAMA_ISA: isa, LLAMA_THREADS: "1" });
  bases = await Promise.all([0, 1, 2].map(() => Llama.load({ weights, engine })));
  rows = (await readDataset(dataset)).rows as InstructionRow[];
});
afterAll(() => Promise.all(bases.map((base) => base.close())));

type Changes = Omit<Partial<TrainingRun>, "settings"> & { settings?: Partial<TrainingRun["settings"]> };

const rankOf = (rank: number, size: number, port: number): Ranks => ({
  rank,
  size,
  localRank: rank,
  link: { kind: "tcp", host: "127.0.0.1", port },
  timeoutSeconds: 60,
});

function train(base: Llama, { settings: changed, ...more }: Changes): Promise<TrainingResult> {
  return trainLora({ base, rows, ...more, settings: { ...settings, ...changed } });
}

async function trainOnRanks(size: number, changes: (rank: number) => Changes = () => ({})) {
  const port = await freePort();
  return Promise.allSettled(
    bases.slice(0, size).map((base, rank) => train(base, { ranks: rankOf(rank, size, port), ...changes(rank) })),
  );
}

async function resultsOnRanks(size: number, changes?: (rank: number) => Changes): Promise<TrainingResult[]> {
  const settled = await trainOnRanks(size, changes);
  return settled.map((one) => {
    if (one.status === "rejected") throw one.reason;
    return one.value;
  });
}

describe("ranks over TCP that are evaluated", () => {
  it("stop early at the same step; rank 0 alone answers sample prompts", async () => {
    const changed = { num_epochs: 8, val_set_size: 4, eval_steps: 2, early_stopping_patience: 1, learning_rate: 0.03 };
    const lines: string[] = [];
    const [first, second] = await resultsOnRanks(2, () => ({
      settings: { ...changed, sample_prompts: ["What do llamas eat?"], sample_tokens: 4 },
      log: (line) => lines.push(line),
    }));
    expect(first!.stopped).not.toBeNull();
    expect(second!.stopped).toEqual(first!.stopped);
    expect(second!.adapter.modules).toEqual(first!.adapter.modules);
    expect(first!.samples[0]).toMatchObject({ step: 0, samples: [{ prompt: "What do llamas eat?" }] });
    expect(second!.samples.map(({ samples }) => samples.length)).toEqual(first!.samples.map(() => 0));
    expect(lines.filter((line) => line.startsWith("stopped early after step "))).toHaveLength(1);
  });
});

describe("ranks over TCP", () => {
  // Between any two orders of the same float32 sums losses differ by 1e-7 here, adapters by 4e-6 (AdamW divides by small
  // numbers); a row that is left out, seen twice or weighed wrongly changes the first loss by 1e-2 and more.
  const close = { loss: 1e-5, adapter: 1e-4 };

  // The plain kernels, where there are no others, take their time.
  it.each([
    [2, {}],
    [3, { micro_batch_size: 1, num_epochs: 1 }],
    // Steps of two rows leave one rank of three with none.
    [3, { batch_size: 2, num_epochs: 1 }],
  ])(
    "%i of them have one rank's losses and adapter, the same bits on each (%o)",
    async (size, changed) => {
      const more = { rows: [...rows, ...rows.slice(0, 20)], settings: { ...changed, val_set_size: 5 } };
      const alone = await train(bases[0]!, more);
      expect(alone.evaluations.length).toBeGreaterThan(0);
      const results = await resultsOnRanks(size, () => more);
      for (const { adapter, steps, evaluations } of results) {
        expect(adapter.modules).toEqual(results[0]!.adapter.modules);
        expect([steps, evaluations]).toEqual([results[0]!.steps, results[0]!.evaluations]);
      }
      const { loss, adapter } = distances(results[0]!, alone);
      expect(loss).toBeLessThan(close.loss);
      expect(adapter).toBeLessThan(close.adapter);
    },
    300_000,
  );

  it("let rank 0 alone tell of the progress", async () => {
    const lines: string[][] = [[], []];
    await resultsOnRanks(2, (rank) => ({ settings: { num_epochs: 1 }, log: (line) => lines[rank]!.push(line) }));
    expect(lines[0]!.filter((line) => line.startsWith("step "))).toHaveLength(5);
    expect(lines[1]).toEqual([]);
  });

  it("draw no dropout mask twice, and the same ones every time", async () => {
    const drawn: number[] = [];
    const changes = () => ({ settings: { num_epochs: 1, micro_batch_size: 1, cutoff_len: 64, lora_dropout: 0.2 } });
    const listened = (rank: number) => ({ ...changes(), base: { ...parts(bases[rank]!), model: listening(rank) } });
    const listening = (rank: number) => listeningModel(bases[rank]!.model, ({ step }) => drawn.push(step));
    const first = await resultsOnRanks(2, listened);
    expect(drawn.length).toBeGreaterThan(10);
    expect(new Set(drawn).size).toBe(drawn.length);
    const second = await resultsOnRanks(2, changes);
    expect(second[0]!.adapter.modules).toEqual(first[0]!.adapter.modules);
  });

  it("find each other among strangers", async () => {
    const port = await freePort();
    const first = train(bases[0]!, { ranks: rankOf(0, 2, port), settings: { num_epochs: 1 } });
    const stranger = await connected(port);
    stranger.write("GET / HTTP/1.1\r\n\r\n");
    const second = train(bases[1]!, { ranks: rankOf(1, 2, port), settings: { num_epochs: 1 } });
    expect((await first).adapter.modules).toEqual((await second).adapter.modules);
    stranger.destroy();
  });
});

describe("`cog train` on two ranks", () => {
  let folder: string;
  beforeAll(() => {
    buildCommand();
    folder = mkdtempSync(join(tmpdir(), "tcp-ranks-"));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it("has one log and one archive, and ends well on both", async () => {
    const port = await freePort();
    const archive = join(folder, "adapter.tar.gz");
    const words = ["train", "-i", `dataset=@${dataset}`, "-i", "num_epochs=1", "-i", "batch_size=8", "-o", archive];
    const ranks = [0, 1].map((rank) =>
      spawn(process.execPath, [join(root, "scripts", "cog.mjs"), ...words], {
        cwd: root,
        env: { ...environment, ...torchVariables(rank, 2, port) },
        stdio: ["ignore", "pipe", "pipe"],
      }),
    );
    const [first, second] = await Promise.all(ranks.map(resultOf));
    expect([first!.exit, second!.exit]).toEqual([0, 0]);
    expect(first!.stderr.match(/^step .*/gm)).toHaveLength(5);
    expect(first!.stderr).toContain(`Written output to: ${archive}`);
    expect(lastLine(second!.stderr)).toBe("No output generated");
    expect(second!.stderr).not.toContain("step");
    expect((await openAdapter(archive, bases[0]!.model.config)).modules).toHaveLength(8);
  });
});

describe("the adapter that rank 0 writes", () => {
  let folder: string;
  const { TMPDIR } = process.env;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "tcp-output-"));
    for (const name of ["work", "temporary"]) mkdirSync(join(folder, name));
    // What is kept goes there.
    process.env.TMPDIR = join(folder, "temporary");
  });
  afterEach(() => {
    if (TMPDIR === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = TMPDIR;
    rmSync(folder, { recursive: true });
  });

  const opened: number[] = [];
  const outputs = (rank: number) => ({
    settings: { num_epochs: 1 },
    output: (modules: readonly AdapterModule[]) => {
      opened.push(rank);
      return AdapterOutput.open(join(folder, "work"), { model: bases[rank]!.model, modules });
    },
  });
  const failure = (message: RegExp) => ({
    status: "rejected",
    reason: { code: "TRAINING_OUTPUT", message: expect.stringMatching(message), hint: expect.any(String) },
  });

  it("is there for the others too before they end", async () => {
    const [first, second] = await resultsOnRanks(2, outputs);
    expect((await openAdapter(first!.file!, bases[0]!.model.config)).modules).toHaveLength(8);
    expect(second!.file).toBeNull();
    expect(opened).toEqual([0]);
  });

  it("has no place: all of them end before the first step, with the reason", async () => {
    rmSync(join(folder, "work"), { recursive: true });
    const steps: number[] = [];
    const settled = await trainOnRanks(2, (rank) => ({
      ...outputs(rank),
      observers: [{ step: ({ step }) => steps.push(step) }],
    }));
    expect(settled[0]).toMatchObject(failure(/^the training cannot use the temporary folder/));
    expect(settled[1]).toMatchObject(failure(/^rank 0 has failed: the training cannot use the temporary folder/));
    expect(steps).toEqual([]);
  });

  it("cannot be written: all of them end with the reason, and it is kept", async () => {
    const settled = await trainOnRanks(2, (rank) => ({
      ...outputs(rank),
      observers: [{ step: ({ step }) => step === 3 && rmSync(join(folder, "work"), { recursive: true, force: true }) }],
    }));
    const text = "the training has ended, but its archive cannot be written: .*; the adapter is kept in ";
    expect(settled[0]).toMatchObject(failure(new RegExp(`^${text}`)));
    expect(settled[1]).toMatchObject(failure(new RegExp(`^rank 0 has failed: ${text}`)));
  });

  it("fails without a code: the others say who has left and why", async () => {
    const [, second] = await trainOnRanks(2, (rank) => ({
      ...outputs(rank),
      output: () => Promise.reject(new Error("out of paper")),
    }));
    const reason = { code: "DISTRIBUTED_PEER_LOST", message: "rank 0 has failed: out of paper" };
    expect(second).toMatchObject({ status: "rejected", reason });
  });

  it("stays where another rank goes while it is written", async () => {
    const controller = new AbortController();
    const port = await freePort();
    const { signal } = controller;
    const second = train(bases[1]!, { ...outputs(1), signal, ranks: rankOf(1, 2, port) }).catch((error) => error);
    const write = async () => {
      controller.abort(new Error("enough"));
      await second;
      return "written";
    };
    const output = async () => ({ write });
    const first = await train(bases[0]!, { ...outputs(0), output, ranks: rankOf(0, 2, port) });
    expect(await second).toMatchObject({ message: "enough" });
    expect(first.file).toBe("written");
  });
});

describe("a training whose ranks", () => {
  const lost = (rank: number) => ({
    status: "rejected",
    reason: { code: "DISTRIBUTED_PEER_LOST", message: expect.stringContaining(`rank ${rank} has left the training`) },
  });

  it("were given different settings ends before its first step", async () => {
    const [first, second] = await trainOnRanks(2, (rank) => ({
      settings: { learning_rate: rank === 0 ? 3e-3 : 1e-3 },
    }));
    expect(first).toMatchObject(lost(1));
    expect(second).toMatchObject({ reason: { code: "DISTRIBUTED_MISMATCH" } });
  });

  it("were given different rows ends before its first step", async () => {
    const changed = rows.map((row, i) => (i === 20 ? { ...row, output: `${row.output}!` } : row));
    const [, second] = await trainOnRanks(2, (rank) => ({ rows: rank === 0 ? rows : changed }));
    expect(second).toMatchObject({ reason: { code: "DISTRIBUTED_MISMATCH" } });
  });

  it("are not all there ends when it is aborted, at once", async () => {
    const controller = new AbortController();
    const port = await freePort();
    const waiting = train(bases[0]!, { ranks: rankOf(0, 2, port), signal: controller.signal });
    const stranger = await connected(port);
    controller.abort(new Error("enough"));
    await expect(waiting).rejects.toThrow("enough");
    stranger.destroy();
  });

  it("do not come in time ends with an error that names them", async () => {
    const ranks = { ...rankOf(0, 3, await freePort()), timeoutSeconds: 1 };
    await expect(train(bases[0]!, { ranks })).rejects.toMatchObject({
      code: "DISTRIBUTED_RENDEZVOUS",
      message: expect.stringMatching(/^rank 0 has waited .* without these ranks: 1, 2$/),
    });
  });

  it.each([0, 1])("lose rank %i by an abort ends on the others too", async (aborted) => {
    const controller = new AbortController();
    const settled = await trainOnRanks(2, (rank) => ({
      settings: { num_epochs: 1000 },
      signal: rank === aborted ? controller.signal : undefined,
      observers: [{ step: ({ step }) => rank === aborted && step === 3 && controller.abort(new Error("enough")) }],
    }));
    expect(settled[aborted]).toMatchObject({ reason: { message: "enough" } });
    expect(settled[1 - aborted]).toMatchObject(lost(aborted));
  });

  it("lose one whose process is killed ends on the others with an error that names it", async () => {
    const port = await freePort();
    const words = JSON.stringify({
      dataset,
      settings: { ...settings, num_epochs: 1000 },
      killedAt: { rank: 1, step: 3 },
    });
    const killed = spawn(process.execPath, [join(import.meta.dirname, "rank.mjs"), words], {
      env: { ...environment, ...torchVariables(1, 2, port) },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const output = resultOf(killed);
    const [staying] = await Promise.allSettled([
      train(bases[0]!, { ranks: rankOf(0, 2, port), settings: { num_epochs: 1000 } }),
    ]);
    expect(await output).toEqual({ exit: null, stdout: "", stderr: "" });
    expect(staying).toMatchObject(lost(1));
  });
});

/** A connection to a port that will be open. */
async function connected(port: number) {
  for (;;) {
    const socket = connect({ port, host: "127.0.0.1" });
    const opened = await new Promise<boolean>((resolve) => {
      socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    });
    if (opened) return socket.on("error", () => {});
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

function parts({ tokenizer, name }: Llama) {
  return { tokenizer, name };
}

function listeningModel(model: EngineModel, heard: (dropout: Dropout) => void): EngineModel {
  return {
    config: model.config,
    weightBytes: model.weightBytes,
    cache: model.cache,
    createAdapter: (modules) => model.createAdapter(modules),
    createSequence: (options) => model.createSequence(options),
    step: (requests) => model.step(requests),
    logits: (tokens, adapter) => model.logits(tokens, adapter),
    close: () => model.close(),
    async createTrainer(adapter, options) {
      const trainer = await model.createTrainer(adapter, options);
      const accumulate = trainer.accumulate.bind(trainer);
      return Object.assign(trainer, {
        accumulate: (...[batch, scale, dropout]: Parameters<typeof accumulate>) => {
          if (dropout) heard(dropout);
          return accumulate(batch, scale, dropout);
        },
      });
    },
  };
}

import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { freePort } from "../../../scripts/free-port.mjs";
import { openEngine } from "../../../src/engine/open.ts";
import { Llama } from "../../../src/llama/index.ts";
import {
  type InstructionRow,
  openCheckpoints,
  type TrainingResult,
  type TrainingSettings,
  trainLora,
} from "../../../src/training/index.ts";
import { writeTinyCheckpoint } from "../../llama/generation/tiny-checkpoint.ts";
import { chosen } from "../default-settings.ts";

// Each rank has a model of its own, and with it a thread of its own: both live in this process.
let folder: string;
let root: string;
let bases: Llama[];
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "checkpoint-ranks-"));
  await writeTinyCheckpoint(join(folder, "tiny"));
  const engine = await openEngine({ ...process.env, LLAMA_THREADS: "1" });
  bases = await Promise.all([0, 1].map(() => Llama.load({ weights: join(folder, "tiny"), engine })));
});
afterAll(async () => {
  await Promise.all(bases.map((base) => base.close()));
  rmSync(folder, { recursive: true });
});
beforeEach(() => {
  root = mkdtempSync(join(folder, "runs-"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const rows: InstructionRow[] = Array.from({ length: 11 }, (_, i) => ({
  instruction: `question ${i}`,
  input: "",
  output: "eats grass ".repeat((i % 3) + 1),
  source: { file: "data.json", number: i + 1, unit: "record" },
}));

/** An odd number of micro-batches a step, so that the ranks count different ones. */
const settings: Partial<TrainingSettings> = {
  num_epochs: 4,
  learning_rate: 1e-2,
  batch_size: 3,
  micro_batch_size: 1,
  cutoff_len: 32,
  val_set_size: 2,
  lora_dropout: 0.2,
  prompt_template_name: "none",
};

interface Changes {
  resume?: string;
  /** Stops the rank after this step. */
  stopAfter?: number;
  place?: string | null;
}

async function trainOnRanks(changes: (rank: number) => Changes): Promise<PromiseSettledResult<TrainingResult>[]> {
  const port = await freePort();
  const link = { kind: "tcp", host: "127.0.0.1", port } as const;
  return Promise.allSettled(
    bases.map(async (base, rank) => {
      const ranks = { rank, size: 2, localRank: rank, link, timeoutSeconds: 3 };
      const { resume = null, stopAfter, place = root } = changes(rank);
      const abort = new AbortController();
      const common = { base, rows, ranks, signal: abort.signal, log: () => {} };
      const opened = await openCheckpoints({
        ...common,
        ...chosen(settings),
        inputs: { save_steps: null, save_total_limit: 3, resume_from_checkpoint: resume, checkpoint: null },
        folder: place,
        tempDir: mkdtempSync(join(folder, "temp-")),
      });
      const stop = {
        step: ({ step }: { step: number }) => void (step === stopAfter && abort.abort(new Error("stopped"))),
      };
      return trainLora({ ...common, ...opened, observers: [stop] });
    }),
  );
}

const essence = (settled: PromiseSettledResult<TrainingResult>) => {
  if (settled.status === "rejected") throw settled.reason;
  const { adapter, steps, evaluations } = settled.value;
  return { modules: adapter.modules, steps, evaluations };
};

it("ranks stop after the same step wherever the signal came, and go on with the bits of a run left alone", async () => {
  const [alone] = await trainOnRanks(() => ({ place: null }));
  const [first, second] = await trainOnRanks((rank) => (rank === 1 ? { stopAfter: 4 } : {}));
  expect(first).toMatchObject({ status: "rejected", reason: { code: "TRAINING_INTERRUPTED" } });
  expect(second).toMatchObject({ status: "rejected", reason: { message: "stopped" } });
  const [run] = readdirSync(root);
  expect(readdirSync(join(root, run!)).sort().at(-1)).toBe("step-000005");
  for (const result of await trainOnRanks(() => ({ resume: "last" }))) expect(essence(result)).toEqual(essence(alone!));
});

it("a rank that sees no checkpoint says so, and ranks with different places do not meet", async () => {
  await trainOnRanks((rank) => (rank === 0 ? { stopAfter: 2 } : {}));
  const empty = join(root, "empty");
  mkdirSync(empty);
  const [, blind] = await trainOnRanks((rank) => ({ resume: "last", place: rank === 0 ? root : empty }));
  expect(blind).toMatchObject({ status: "rejected", reason: { code: "TRAINING_CHECKPOINT" } });
  const settled = await trainOnRanks((rank) => ({ place: rank === 0 ? root : null }));
  const codes = settled.map((one) => one.status === "rejected" && one.reason.code);
  expect(codes).toContain("DISTRIBUTED_MISMATCH");
}, 60_000);

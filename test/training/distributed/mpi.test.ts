import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openEngine } from "../../../src/engine/open.ts";
import { Llama, openAdapter } from "../../../src/llama/index.ts";
import { type InstructionRow, readDataset, type TrainingResult, trainLora } from "../../../src/training/index.ts";
import { buildCommand, resultOf } from "../../cog/cli/command.ts";
import { root, weights } from "../../weights/embedded-base.ts";
import { dataset, distances, hasMpi, isa, mpirun, settings } from "./launch.ts";

describe.skipIf(!hasMpi)("two ranks over MPI (needs mpirun, and libopenmpi-dev when the engine is built)", () => {
  // As over TCP: orders of float32 sums.
  const close = { loss: 1e-5, adapter: 1e-4 };
  const program = join(import.meta.dirname, "rank.mjs");
  let folder: string;
  let base: Llama;
  let alone: TrainingResult;
  beforeAll(async () => {
    buildCommand();
    folder = mkdtempSync(join(tmpdir(), "mpi-ranks-"));
    const engine = await openEngine({ ...process.env, LLAMA_ISA: isa, LLAMA_THREADS: "1" });
    base = await Llama.load({ weights, engine });
    alone = await trainLora({ base, rows: (await readDataset(dataset)).rows as InstructionRow[], settings });
  });
  afterAll(async () => {
    await base?.close();
    rmSync(folder, { recursive: true });
  });

  it("have one rank's losses and adapter, the same bits on each", async () => {
    const { exit, stderr } = await resultOf(
      mpirun(2, [program, JSON.stringify({ dataset, settings, results: folder })]),
    );
    expect([exit, stderr]).toEqual([0, ""]);
    const [first, second] = [0, 1].map((rank) => readFileSync(join(folder, `${rank}.json`), "utf8"));
    expect(second).toBe(first);
    const { loss, adapter } = distances(JSON.parse(first!), alone);
    expect(loss).toBeLessThan(close.loss);
    expect(adapter).toBeLessThan(close.adapter);
  });

  it("are one `cog train`: one log, one archive", async () => {
    const archive = join(folder, "adapter.tar.gz");
    const given = Object.entries(settings).filter(([, value]) => value !== undefined);
    const inputs = given.map(([name, value]) => `${name}=${inputText(value)}`);
    const words = ["train", "-o", archive, ...[`dataset=@${dataset}`, ...inputs].flatMap((input) => ["-i", input])];
    const { exit, stdout, stderr } = await resultOf(mpirun(2, [join(root, "scripts", "cog.mjs"), ...words]));
    expect([exit, stdout]).toEqual([0, ""]);
    expect(stderr.match(/^step .*/gm)).toHaveLength(alone.steps.length);
    expect(stderr.match(/^Training on 36 rows/gm)).toHaveLength(1);
    expect(stderr.match(/^Written output to: /gm)).toEqual(["Written output to: "]);
    const { modules } = await openAdapter(archive, base.model.config);
    const { adapter } = distances({ ...alone, adapter: { ...alone.adapter, modules } }, alone);
    expect(adapter).toBeLessThan(close.adapter);
  });

  it("end together when one of them is killed, without a result", async () => {
    const run = { dataset, settings: { ...settings, num_epochs: 1000 }, killedAt: { rank: 1, step: 3 } };
    const results = mkdtempSync(join(folder, "killed-"));
    const { exit } = await resultOf(mpirun(2, [program, JSON.stringify({ ...run, results })]));
    expect(exit).not.toBe(0);
    expect(readdirSync(results)).toEqual([]);
  });

  it("refuse variables that are not those of their launcher", async () => {
    const contradicting = { RANK: "0", WORLD_SIZE: "2" };
    const words = [program, JSON.stringify({ dataset, settings, results: folder })];
    const { exit, stderr } = await resultOf(mpirun(2, words, contradicting));
    expect([exit, stderr]).toEqual([1, expect.stringContaining("RANK=0 contradicts OMPI_COMM_WORLD_RANK=1")]);
  });
});

function inputText(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

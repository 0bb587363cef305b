import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { addressOf, buildCommand, lastLine, type Result, resultOf } from "../cog/cli/command.ts";
import { root } from "../weights/embedded-base.ts";

let folder: string;
beforeAll(() => {
  buildCommand();
  folder = mkdtempSync(join(tmpdir(), "killed-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Ninety steps with dropout, shuffled, with two rows kept back. */
const inputs = ["num_epochs=18", "batch_size=6", "cutoff_len=64", "val_set_size=6", "lora_dropout=0.1", "save_steps=1"];

/** A process group of its own: a kill of it takes the model's process too. */
function cogTrain(output: string, more: readonly string[] = []): ChildProcess {
  const given = (word: string) => word.split("=")[0];
  const own = inputs.filter((word) => !more.some((other) => given(other) === given(word)));
  const words = [`dataset=@${join(root, "examples", "alpacas.json")}`, ...own, ...more];
  const script = join(root, "scripts", "cog.mjs");
  const args = [
    script,
    "train",
    ...words.flatMap((word) => ["-i", word]),
    "-o",
    join(folder, output, "adapter.tar.gz"),
  ];
  return spawn(process.execPath, args, { cwd: root, detached: true, stdio: ["ignore", "pipe", "pipe"] });
}

const finished = (output: string, more: readonly string[] = []): Promise<Result> => resultOf(cogTrain(output, more));

async function healthOf(address: string): Promise<string> {
  const answer = await fetch(`${address}/health-check`);
  return ((await answer.json()) as { status: string }).status;
}

function printed(child: ChildProcess, pattern: RegExp): Promise<void> {
  return new Promise((resolve) => child.stderr!.on("data", (text) => pattern.test(text) && resolve()));
}

/** Of the newest checkpoint; 0 where there is none. */
function stepOf(output: string): number {
  const checkpoints = join(folder, output, "checkpoints");
  const names = existsSync(checkpoints)
    ? readdirSync(checkpoints).flatMap((run) => readdirSync(join(checkpoints, run)))
    : [];
  return Math.max(0, ...names.filter((name) => name.startsWith("step-")).map((name) => Number(name.slice(5))));
}

/** The files of a run's last checkpoint that do not tell the time. */
function lastOf(output: string): Record<string, string> {
  const checkpoints = join(folder, output, "checkpoints");
  const last = (path: string) =>
    readdirSync(path)
      .filter((name) => !name.startsWith("."))
      .sort()
      .at(-1)!;
  const run = last(checkpoints);
  const step = last(join(checkpoints, run));
  const place = join(checkpoints, run, step);
  const names = readdirSync(place).filter((name) => name !== "state.json");
  return {
    step,
    ...Object.fromEntries(
      names.map((name) => [
        name,
        createHash("sha256")
          .update(readFileSync(join(place, name)))
          .digest("hex"),
      ]),
    ),
  };
}

describe("a training that is killed", () => {
  it("comes to the same bits as one that was left alone, killed at ten moments", async () => {
    for (const name of ["alone", "killed"]) mkdirSync(join(folder, name));
    const alone = await finished("alone");
    expect(alone.exit).toBe(0);
    for (let kill = 0; kill < 10; kill++) {
      const before = stepOf("killed");
      const child = cogTrain("killed", ["resume_from_checkpoint=auto"]);
      const ended = resultOf(child);
      // Some steps further on, at any moment of a step or of its checkpoint.
      const wanted = before + Math.floor(Math.random() * 5) + (before === 0 ? 1 : 0);
      while (child.exitCode === null && stepOf("killed") < wanted) await sleep(5);
      await sleep(Math.random() * 200);
      expect(child.exitCode).toBeNull();
      process.kill(-child.pid!, "SIGKILL");
      await ended;
    }
    expect(stepOf("killed")).toBeGreaterThan(0);
    const last = await finished("killed", ["resume_from_checkpoint=auto"]);
    expect([last.exit, last.stderr]).toEqual([0, expect.stringContaining("Going on from ")]);
    expect(lastOf("killed")).toEqual(lastOf("alone"));
    expect(readdirSync(join(folder, "killed", "checkpoints"))).toHaveLength(1);
  }, 600_000);

  it("ends on SIGTERM with a checkpoint, the code for going on and the command", async () => {
    mkdirSync(join(folder, "stopped"));
    const child = cogTrain("stopped");
    const ended = resultOf(child);
    await printed(child, /Memory:/);
    child.kill("SIGTERM");
    const { exit, stderr } = await ended;
    expect([exit, stderr]).toEqual([75, expect.stringContaining("\nStopped. To go on:\n")]);
    expect(lastLine(stderr)).toMatch(/ -i resume_from_checkpoint=\d{8}-\d{6}-[0-9a-f]{6}\/step-\d{6}$/);
    expect((await finished("stopped", ["resume_from_checkpoint=last"])).exit).toBe(0);
    expect(lastOf("stopped")).toEqual(lastOf("alone"));
  }, 120_000);

  it("ends at once on a second SIGTERM", async () => {
    mkdirSync(join(folder, "twice"));
    // Steps of a second.
    const child = cogTrain("twice", ["num_epochs=50", "batch_size=36"]);
    const ended = resultOf(child);
    await printed(child, /Memory:/);
    child.kill("SIGTERM");
    await printed(child, /Stopping/);
    child.kill("SIGTERM");
    expect((await ended).exit).toBe(143);
  }, 60_000);

  it("keeps its step in a server that is stopped, and where its client has left", async () => {
    const checkpoints = join(folder, "server");
    const data = readFileSync(join(root, "examples", "alpacas.json"), "base64");
    const settings = { num_epochs: 200, batch_size: 6, cutoff_len: 64, save_steps: 1000, val_set_size: 0 };
    const input = { dataset: `data:application/json;base64,${data}`, ...settings };
    for (const end of ["client", "server"]) {
      const env = {
        ...process.env,
        LLAMA_CHECKPOINTS: join(checkpoints, end),
        COG_SHUTDOWN_GRACE: "0",
        COG_CANCEL_GRACE: "60",
      };
      const words = [join(root, "scripts", "cog.mjs"), "serve", "--x-mode", "train", "-p", "0", "--host", "127.0.0.1"];
      const server = spawn(process.execPath, words, { cwd: root, env, stdio: ["ignore", "pipe", "pipe"] });
      const ended = resultOf(server);
      const address = await addressOf(server);
      while ((await healthOf(address)) !== "READY") await sleep(50);
      const client = new AbortController();
      const body = JSON.stringify({ input });
      const headers = { "content-type": "application/json" };
      const answer = fetch(`${address}/trainings`, { method: "POST", headers, body, signal: client.signal }).then(
        (got) => got.json(),
      );
      answer.catch(() => {});
      while (!/cog_training_metric\{name="(loss|step)"/.test(await (await fetch(`${address}/metrics`)).text()))
        await sleep(50);
      if (end === "client") client.abort();
      else server.kill("SIGTERM");
      if (end === "server") {
        const { status, metrics } = (await answer) as { status: string; metrics: { resume: object } };
        expect(status).toBe("canceled");
        expect(metrics.resume).toEqual({
          resume_from_checkpoint: expect.stringMatching(/step-\d{6}$/),
          checkpoint: null,
        });
      } else {
        while ((await healthOf(address)) !== "READY") await sleep(50);
        server.kill("SIGTERM");
      }
      await ended;
      const [run] = readdirSync(join(checkpoints, end));
      expect(readdirSync(join(checkpoints, end, run!))).toEqual([expect.stringMatching(/^step-\d{6}$/)]);
    }
  }, 120_000);
});

import { spawn } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { removeAbandoned } from "../../src/temporary/abandoned.ts";
import { temporaryFolder, temporaryPath } from "../../src/temporary/folders.ts";

const isLinux = existsSync("/proc/self/ns/pid");
const { TMPDIR } = process.env;
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "temporary-test-"));
  process.env.TMPDIR = folder;
});
afterEach(() => {
  if (TMPDIR === undefined) delete process.env.TMPDIR;
  else process.env.TMPDIR = TMPDIR;
  rmSync(folder, { recursive: true });
});

/** Lays a folder down as a process would that has these numbers. */
function folderOf({ namespace, pid, start }: { namespace: string; pid: number; start: string }): string {
  const name = `llama-lora-dataset.${namespace}.${pid}.${start}.0123456789ab`;
  mkdirSync(join(folder, name, "inside"), { recursive: true });
  writeFileSync(join(folder, name, "inside", "data.json"), "[]");
  return name;
}

const parts = (path: string) => {
  const [, namespace, pid, start] = basename(path).split(".");
  return { namespace: namespace!, pid: Number(pid), start: start! };
};

const mine = parts(temporaryPath("run"));

/** The number of a process that has ended. */
async function deadPid(): Promise<number> {
  const child = spawn(process.execPath, ["-e", ""]);
  await new Promise((resolve) => child.once("close", resolve));
  return child.pid!;
}

describe("what a killed process left in the temporary folder", () => {
  it("is removed when the next one makes a folder of its own", async () => {
    const left = folderOf({ ...mine, pid: await deadPid(), start: "1" });
    const made = await temporaryFolder("dataset");
    await removeAbandoned();
    expect(readdirSync(folder)).not.toContain(left);
    expect(readdirSync(folder)).toContain(basename(made));
  });

  it.skipIf(!isLinux)("is told from what a living one with the same number has", async () => {
    const living = folderOf(mine);
    const reused = folderOf({ ...mine, start: String(Number(mine.start) - 1) });
    await removeAbandoned();
    expect(readdirSync(folder)).toEqual([living]);
    expect(existsSync(join(folder, reused))).toBe(false);
  });

  it.skipIf(!isLinux)("stays where its process may live in another container", async () => {
    const elsewhere = String(Number(mine.namespace) + 1);
    const foreign = folderOf({ namespace: elsewhere, pid: await deadPid(), start: "1" });
    await removeAbandoned();
    expect(readdirSync(folder)).toEqual([foreign]);
  });

  it("is nothing that only looks alike", async () => {
    mkdirSync(join(folder, "llama-lora-notes"));
    mkdirSync(join(folder, "kept-adapter-a1b2c3"));
    writeFileSync(join(folder, `llama-lora-run.0.${await deadPid()}.1.00`), "a file");
    await removeAbandoned();
    expect(readdirSync(folder)).toHaveLength(3);
  });
});

describe("a temporary folder", () => {
  it("is for this user alone, and named after the process", async () => {
    const made = await temporaryFolder("adapter");
    expect(parts(made).pid).toBe(process.pid);
    if (isLinux) {
      expect(parts(made).namespace).toBe(/\d+/.exec(readlinkSync("/proc/self/ns/pid"))![0]);
      expect(readFileSync("/proc/self/stat", "latin1")).toContain(` ${parts(made).start} `);
    }
  });
});

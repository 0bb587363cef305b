import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import {
  AdapterReader,
  openAdapter,
  writeAdapterArchive,
  writeAdapterFolder,
} from "../../../src/llama/adapter/index.ts";
import { buildDist } from "../../cog/server-process.ts";
import { tarball } from "../tarball.ts";
import { modulesOf, smallModel } from "./small-model.ts";

let folder: string;
let temporary: string;
let reader: AdapterReader;
beforeAll(() => {
  buildDist();
  folder = mkdtempSync(join(tmpdir(), "reader-test-"));
  temporary = join(folder, "temporary");
  mkdirSync(temporary);
  vi.stubEnv("TMPDIR", temporary);
  reader = new AdapterReader();
});
afterAll(async () => {
  await reader.close();
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

const read = (path: string, signal?: AbortSignal) =>
  reader.read([{ path, weight: 1 }], smallModel, { mostBytes: 2 ** 28 }, signal);
const adapterOf = (rank: number) => ({
  modules: modulesOf(smallModel, ["q_proj", "down_proj"], rank, 6),
  rank,
  alpha: 6,
  dropout: 0,
  targetModules: ["q_proj", "down_proj"] as const,
  baseModel: "tiny",
});

it("gives what openAdapter gives, and its errors with code and hint", async () => {
  const file = await writeAdapterArchive(join(folder, "a.tar.gz"), adapterOf(3), smallModel);
  expect(await read(file)).toEqual(await openAdapter(file, smallModel));
  expect(await reader.identity(file)).toMatch(/^sha256 [0-9a-f]{64}$/);
  const failure = reader.read([{ path: file, name: "mine", weight: 1 }], smallModel, { mostBytes: 1 });
  await expect(failure).rejects.toMatchObject({
    code: "ADAPTER_UNSUPPORTED",
    message: expect.stringContaining("mine/adapter_config.json: the adapter takes"),
    hint: expect.stringContaining("LLAMA_ADAPTER_BYTES"),
  });
});

it("leaves the thread that generates free while it reads", async () => {
  const file = await writeAdapterArchive(join(folder, "large.tar.gz"), adapterOf(4096), smallModel);
  const busyMs = async (work: () => Promise<unknown>) => {
    const before = performance.eventLoopUtilization();
    await work();
    return performance.eventLoopUtilization(before).active;
  };
  const here = await busyMs(() => openAdapter(file, smallModel));
  const there = await busyMs(() => read(file));
  expect(there).toBeLessThan(here / 2);
});

it("ends a reading that is canceled, and removes what it unpacked", async () => {
  const adapter = join(folder, "adapter");
  mkdirSync(adapter);
  await writeAdapterFolder(adapter, adapterOf(3), smallModel);
  const files = readdirSync(adapter).map((path) => ({ path, body: readFileSync(join(adapter, path)) }));
  const slow = join(folder, "slow.tar.gz");
  writeFileSync(slow, gzipSync(tarball([...files, { path: "optimizer.pt", body: Buffer.alloc(60 << 20) }])));
  const controller = new AbortController();
  const jobs = Array.from({ length: 6 }, () => read(slow, controller.signal));
  const other = read(slow);
  const settled = Promise.allSettled(jobs);
  await expect.poll(() => readdirSync(temporary).length).toBeGreaterThan(0);
  controller.abort(new Error("canceled"));
  for (const result of await settled)
    expect(result).toMatchObject({ status: "rejected", reason: { message: "canceled" } });
  expect((await other).modules).toHaveLength(4);
  await expect.poll(() => readdirSync(temporary)).toEqual([]);
  await expect(read(slow, controller.signal)).rejects.toThrow("canceled");
});

import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openAdapter, writeAdapterFolder } from "../../src/llama/adapter/index.ts";
import { openCheckpoint } from "../../src/llama/checkpoint/index.ts";
import { readDataset } from "../../src/training/index.ts";
import { modulesOf, smallModel } from "./adapter/small-model.ts";

const embedded = resolve(import.meta.dirname, "../../weights/tiny");

let folder: string;
let server: Server | null = null;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "special-"));
});
afterEach(() => {
  server?.close();
  server = null;
  rmSync(folder, { recursive: true });
});

/** Puts something that is no regular file in a file's place. */
const inPlace: Record<string, (path: string) => Promise<void> | void> = {
  "a named pipe": (path) => void execFileSync("mkfifo", [path]),
  "a socket": async (path) => {
    server = createServer();
    await new Promise<void>((done) => server!.listen(path, done));
  },
  "a device": (path) => symlinkSync("/dev/zero", path),
  "a folder": (path) => void mkdirSync(path),
};

describe.each(Object.keys(inPlace))("%s in place of a file", (what) => {
  const put = async (path: string) => {
    rmSync(path, { force: true });
    await inPlace[what]!(path);
  };

  it.each([
    ["config.json", "CHECKPOINT_NOT_FOUND"],
    ["generation_config.json", "CHECKPOINT_NOT_FOUND"],
    ["model.safetensors", "CHECKPOINT_NOT_FOUND"],
    ["model.safetensors.index.json", "CHECKPOINT_NOT_FOUND"],
    ["tokenizer.model", "TOKENIZER_NOT_FOUND"],
    ["tokenizer.json", "TOKENIZER_NOT_FOUND"],
    ["tokenizer_config.json", "TOKENIZER_NOT_FOUND"],
  ])("of a checkpoint is refused by name: %s", async (file, code) => {
    cpSync(embedded, join(folder, "model"), { recursive: true });
    // Read only where there is no tokenizer.model.
    if (/^tokenizer(_config)?\.json$/.test(file)) rmSync(join(folder, "model/tokenizer.model"));
    if (file === "tokenizer_config.json") cpSync(join(embedded, "config.json"), join(folder, "model/tokenizer.json"));
    await put(join(folder, "model", file));
    await expect(openCheckpoint(join(folder, "model"))).rejects.toMatchObject({
      code,
      message: `${join(folder, "model", file)}: is ${what}, not a regular file`,
    });
  });

  it.each(["adapter_config.json", "adapter_model.safetensors"])("of an adapter is refused: %s", async (file) => {
    const modules = modulesOf(smallModel, ["q_proj"], 2, 4);
    const adapter = { modules, rank: 2, alpha: 4, dropout: 0, targetModules: ["q_proj"] as const, baseModel: "x" };
    mkdirSync(join(folder, "adapter"));
    await writeAdapterFolder(join(folder, "adapter"), adapter, smallModel);
    await put(join(folder, "adapter", file));
    await expect(openAdapter(join(folder, "adapter"), smallModel)).rejects.toMatchObject({
      code: "ADAPTER_NOT_FOUND",
      message: `adapter/${file}: is ${what}, not a regular file`,
    });
  });

  it.skipIf(what === "a folder")("that is an adapter's archive is refused", async () => {
    await put(join(folder, "adapter.tar.gz"));
    await expect(openAdapter(join(folder, "adapter.tar.gz"), smallModel)).rejects.toMatchObject({
      code: "ADAPTER_NOT_FOUND",
      message: `adapter.tar.gz: is ${what}, not a regular file`,
    });
  });

  // A data set may be a folder.
  it.skipIf(what === "a folder")("that is a data set is refused", async () => {
    await put(join(folder, "data.json"));
    await expect(readDataset(join(folder, "data.json"))).rejects.toMatchObject({
      code: "DATASET_NOT_FOUND",
      message: `data.json: is ${what}, not a regular file`,
    });
  });
});

describe("links", () => {
  it("to regular files are followed, as Hugging Face's cache has them", async () => {
    cpSync(embedded, join(folder, "blobs"), { recursive: true });
    mkdirSync(join(folder, "model"));
    for (const file of ["config.json", "generation_config.json", "model.safetensors", "tokenizer.model"]) {
      symlinkSync(`../blobs/${file}`, join(folder, "model", file));
    }
    expect((await openCheckpoint(join(folder, "model"))).tokenizer.vocabSize).toBe(1600);
  });

  it("to nothing are refused by name, those of files that need not be there too", async () => {
    cpSync(embedded, join(folder, "model"), { recursive: true });
    renameSync(join(folder, "model/generation_config.json"), join(folder, "moved"));
    symlinkSync("../blobs/gone", join(folder, "model/generation_config.json"));
    await expect(openCheckpoint(join(folder, "model"))).rejects.toMatchObject({
      code: "CHECKPOINT_NOT_FOUND",
      message: expect.stringContaining("generation_config.json: is a link to a file that is not there"),
    });
  });
});

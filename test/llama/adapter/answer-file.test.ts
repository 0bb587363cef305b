import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type AdapterToWrite, openAdapter, writeAdapterArchive } from "../../../src/llama/adapter/index.ts";
import { modulesOf, smallModel } from "./small-model.ts";

const written: AdapterToWrite = {
  modules: modulesOf(smallModel, ["q_proj"], 1000, 2000),
  rank: 1000,
  alpha: 2000,
  dropout: 0,
  targetModules: ["q_proj"],
  baseModel: "tiny",
};

let folder: string;
let base64: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "answer-test-"));
  base64 = readFileSync(await writeAdapterArchive(join(folder, "a.tar.gz"), written, smallModel)).toString("base64");
});
afterAll(() => rmSync(folder, { recursive: true }));

function opened(text: string) {
  const file = join(folder, "weights");
  writeFileSync(file, text);
  return openAdapter(file, smallModel);
}

describe("the JSON that Cog's client writes for a training", () => {
  it.each([
    ["as it is written", (data: string) => `{\n  "weights": "data:application/gzip;base64,${data}"\n}`],
    ["in one line", (data: string) => `{"weights":"data:application/octet-stream;base64,${data}"}`],
    [
      "with other fields before and after",
      (data: string) => `{"loss": 0.5, "note": "x", "weights": "data:;base64,${data}", "z": {}}`,
    ],
  ])("is an adapter, %s", async (_, json) => {
    // More than one chunk of a file stream.
    expect(base64.length).toBeGreaterThan(2 * 65_536);
    expect((await opened(json(base64))).modules).toEqual(written.modules);
  });

  it("that was cut off, or holds no base64, is damaged", async () => {
    const start = '{"weights": "data:application/gzip;base64,';
    await expect(opened(start + base64.slice(0, 100_001))).rejects.toMatchObject({
      code: "ADAPTER_CORRUPT",
      message: "weights: the adapter inside this JSON ends in the middle",
    });
    await expect(opened(`${start}${base64.slice(0, 70_000)}?${base64.slice(70_000)}"}`)).rejects.toMatchObject({
      code: "ADAPTER_CORRUPT",
      message: "weights: the adapter inside this JSON holds characters that are not base64",
    });
  });

  it("without an adapter is none", async () => {
    for (const text of ['{"weights": "somewhere"}', '{"loss": 1}', "", '{"weights": "data:text/plain;base64,aGk="}'])
      await expect(opened(text)).rejects.toMatchObject({ code: "ADAPTER_NOT_FOUND" });
  });
});

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { removeAbandoned } from "../../src/temporary/abandoned.ts";
import { pathBeside } from "../../src/temporary/beside.ts";
import { ownedName } from "../../src/temporary/owned-name.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "beside-test-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** A hidden name as a process that has died would have given it. */
async function deadName(): Promise<string> {
  const child = spawn(process.execPath, ["-e", ""]);
  await once(child, "close");
  const [name, namespace, , , random] = ownedName("output").split(".");
  return `.${name}.${namespace}.${child.pid}.1.${random}`;
}

describe("what lies beside an output until it is whole", () => {
  it("is removed by the next process once its own has died, be it a file or a folder", async () => {
    writeFileSync(join(folder, await deadName()), "half");
    const left = join(folder, await deadName());
    mkdirSync(left);
    writeFileSync(join(left, "tensors"), "half");
    const mine = pathBeside(join(folder, "result.txt"));
    writeFileSync(mine, "half");
    await removeAbandoned(folder);
    expect(readdirSync(folder).map((name) => join(folder, name))).toEqual([mine]);
  });

  it("is nothing that only looks alike", async () => {
    const names = [".result.txt.tmp", ".llama-lora-output", "llama-lora-notes", (await deadName()).slice(1)];
    for (const name of names) writeFileSync(join(folder, name), "the user's own");
    await removeAbandoned(folder);
    expect(readdirSync(folder).sort()).toEqual(names.sort());
  });
});

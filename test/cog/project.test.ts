import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readProject } from "../../src/cog/project.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "project-"));
});
afterEach(() => rmSync(dir, { recursive: true }));

function project(text: string, env: NodeJS.ProcessEnv = {}) {
  writeFileSync(join(dir, "cog.yaml"), text);
  return readProject(dir, { env });
}

describe("readProject", () => {
  it("finds cog.yaml in a parent folder and resolves references from there", () => {
    writeFileSync(join(dir, "cog.yaml"), "predict: predict.ts\ntrain: lib/train.mjs:tune\n");
    mkdirSync(join(dir, "a", "b"), { recursive: true });
    const found = readProject(join(dir, "a", "b"), { env: {} });
    expect(found.dir).toBe(dir);
    expect(found.predict).toEqual({ file: join(dir, "predict.ts"), name: "default" });
    expect(found.train).toEqual({ file: join(dir, "lib/train.mjs"), name: "tune" });
  });

  it("takes run for predict, and refuses both", () => {
    expect(project("run: r.ts").predict?.file).toBe(join(dir, "r.ts"));
    expect(() => project("run: r.ts\npredict: p.ts")).toThrow("invalid run: only one of run or predict can be set");
  });

  it("lets the environment win over the file", () => {
    expect(project("predict: p.ts", { COG_PREDICT_TYPE_STUB: "other.ts:x" }).predict).toEqual({
      file: join(dir, "other.ts"),
      name: "x",
    });
  });

  it("says where it looked when there is no cog.yaml", () => {
    expect(() => readProject(dir, { env: {}, file: "none.yaml" })).toThrow(
      `none.yaml not found in ${dir} (or in any parent directories)`,
    );
  });

  it("ignores unknown keys and accepts an empty file", () => {
    expect(project("").predict).toBeNull();
    expect(project("future: {key: 1}\nbuild: {gpu: true, other: 2}").gpu).toBe(true);
  });

  it.each([
    ["predict: predict.py:Predictor", "predict.py:Predictor"],
    ["predict: [a]", "predict must be text"],
    ["concurrency: {max: 0}", "concurrency.max"],
    ["environment: ['CUDA_X=1']", "CUDA_X"],
    ["environment: ['novalue']", "NAME=value"],
    ["- a", "keys and values"],
    ["a: [", "cog.yaml"],
  ])("names what is wrong in %j", (text, named) => {
    expect(() => project(text)).toThrow(named);
  });

  it("names the variable whose reference is wrong", () => {
    for (const name of ["COG_PREDICT_TYPE_STUB", "COG_TRAIN_TYPE_STUB"]) {
      expect(() => readProject(dir, { env: { [name]: "model.py:train" } })).toThrow(`invalid ${name} "model.py:train"`);
    }
  });

  it("reads the environment for the author's process", () => {
    expect(project("environment: ['A=1', 'B=x=y', 'C=']").environment).toEqual(
      new Map([
        ["A", "1"],
        ["B", "x=y"],
        ["C", ""],
      ]),
    );
  });
});

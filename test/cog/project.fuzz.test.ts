import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { readProject } from "../../src/cog/project.ts";
import { isCodedError } from "../../src/errors/index.ts";
import { bounded, expectLinear, soup, valueOrCode } from "../fuzzing.ts";

const dir = mkdtempSync(join(tmpdir(), "project-"));
// What the YAML library warns of fills pages.
beforeAll(() => void vi.spyOn(process, "emitWarning").mockImplementation(() => {}));
afterAll(() => rmSync(dir, { recursive: true }));

const keys = ["predict", "train", "run", "image", "build", "train_output", "concurrency", "environment", "max", "gpu"];
const marks = [
  ..."[]{},:-?|>*&!'\"%@#~",
  "\n",
  "\n  ",
  "\n- ",
  ": ",
  "- ",
  "&a ",
  "*a",
  "!!binary ",
  "!!set ",
  "<<: ",
  "---\n",
  "...\n",
  "%YAML 1.1\n",
  "\t",
  "predict.ts",
  "NAME=value",
  "1",
  "true",
  "null",
];
const yaml = fc.oneof(
  soup([...marks, ...keys.map((key) => `${key}: `), ...keys.map((key) => `\n${key}: `)], 25),
  fc.dictionary(fc.constantFrom(...keys), fc.jsonValue()).map((config) => JSON.stringify(config)),
);

async function read(text: string | Buffer) {
  writeFileSync(join(dir, "cog.yaml"), text);
  return valueOrCode(() => readProject(dir, { env: {} }), "PROJECT_CONFIG");
}

describe("whatever a cog.yaml holds, it", () => {
  it("is a project, or PROJECT_CONFIG naming the file or the key", async () => {
    const property = fc.asyncProperty(yaml, async (text) => {
      const project = await read(text);
      if (isCodedError(project)) expect(project.message).toMatch(/cog\.yaml|invalid (predict|train|run)/);
      else for (const [name, value] of project.environment) expect(typeof name + typeof value).toBe("stringstring");
    });
    await fc.assert(property, { ...bounded, numRuns: 1000 });
  });

  it.each([
    ["spaces", (n: number) => " ".repeat(n)],
    ["keys", (n: number) => Array.from({ length: n / 16 }, (_, i) => `key${i}: value\n`).join("")],
    ["variables", (n: number) => `environment:\n${"- NAME=value\n".repeat(n / 13)}`],
    ["one long text", (n: number) => `image: "${"\\".repeat(n)}"`],
  ])("costs time and memory in proportion to its length: %s", async (_, input) => {
    await expectLinear(input, (text: string) => read(text), 2 ** 15);
  });

  it.each([
    ["a list that holds itself", "environment: &a\n- *a\n"],
    [
      "aliases of aliases",
      `a0: &a0 [x]\n${Array.from({ length: 30 }, (_, i) => `a${i + 1}: &a${i + 1} [${`*a${i},`.repeat(10)}]`).join("\n")}`,
    ],
    ["brackets without end", "[".repeat(20_000)],
    ["a value of many digits", `concurrency: {max: ${"9".repeat(10_000)}}`],
  ])("is refused when it is %s", async (_, text) => {
    expect(isCodedError(await read(text))).toBe(true);
  });
});

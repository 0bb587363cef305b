import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isCodedError } from "../../../../src/errors/index.ts";
import { compareChecklist, parseChecklist } from "../../../../src/llama/checkpoint/meta/checklist.ts";
import { openMetaModel } from "../../../../src/llama/checkpoint/meta/open.ts";
import { parseParams } from "../../../../src/llama/checkpoint/meta/params.ts";
import { bounded, expectLinear, soup, valueOrCode } from "../../../fuzzing.ts";
import { params as right, writeMeta } from "./meta-fixture.ts";

const folder = mkdtempSync(join(tmpdir(), "meta-fuzz-"));
beforeAll(() => writeMeta(folder));
afterAll(() => rmSync(folder, { recursive: true }));

const names = [
  ...["dim", "n_layers", "n_heads", "n_kv_heads", "head_dim", "vocab_size", "multiple_of", "ffn_dim_multiplier"],
  ...["norm_eps", "hidden_dim", "rope_theta", "use_scaled_rope", "rope_scaling_factor", "sliding_window", "model"],
  ...["__proto__", "constructor"],
];
const value = fc.oneof(
  fc.constantFrom(16, 4, 2, 1, 0, -1, 0.5, 1e-5, 1e300, 5e-324, 2 ** 53, true, null, "16", right),
  fc.jsonValue(),
);
const changed = fc
  .dictionary(fc.constantFrom(...names), value, { maxKeys: 4 })
  .map((changes) => JSON.stringify({ ...right, ...changes }));
const params = fc.oneof({ weight: 4, arbitrary: changed }, fc.json(), soup([...'{}[],:"-', "dim", "16", "1e999"]));

describe("whatever a params.json says, it", () => {
  it("has counts that can be used, or is refused with a code that names the file", async () => {
    const property = fc.asyncProperty(params, async (text) => {
      const read = await valueOrCode(() => parseParams(text, "params.json"), "CHECKPOINT_CONFIG");
      if (isCodedError(read)) {
        expect(read.message).toMatch(/^params\.json/);
        expect(read.message.length).toBeLessThan(1000);
        return;
      }
      const { file: _, normEps, ropeTheta, ropeFactor, ...counts } = read;
      for (const count of Object.values(counts)) {
        expect(count === null || (Number.isSafeInteger(count) && count > 0)).toBe(true);
      }
      for (const number of [normEps, ropeTheta ?? 1, ropeFactor ?? 1]) {
        expect(Number.isFinite(number) && number > 0).toBe(true);
      }
      expect([read.heads % read.kvHeads, read.headDim % 2]).toEqual([0, 0]);
    });
    await fc.assert(property, bounded);
  });

  it("is a model of its tensors, or is refused with a code", async () => {
    const codes = ["CONFIG", "TENSOR", "UNSUPPORTED", "NOT_FOUND"].map(
      (code) => `CHECKPOINT_${code}` as "CHECKPOINT_CONFIG",
    );
    const property = fc.asyncProperty(changed, async (text) => {
      writeFileSync(join(folder, "params.json"), text);
      const read = await valueOrCode(() => openMetaModel(folder), ...codes);
      if (isCodedError(read)) return;
      expect([read.config.layers, read.config.vocabSize, read.config.intermediateSize]).toEqual([2, 20, 44]);
    });
    await fc.assert(property, { ...bounded, numRuns: 100 });
  });

  it.each([
    ["open brackets", (n: number) => "[".repeat(n)],
    ["fields", (n: number) => `{${Array.from({ length: n / 12 }, (_, i) => `"k${i}":1`)}}`],
    ["digits", (n: number) => `{"dim":${"1".repeat(n)}}`],
  ])("costs time and memory in proportion to its length: %s", async (_, input) => {
    await expectLinear(
      input,
      (text: string) => valueOrCode(() => parseParams(text, "params.json"), "CHECKPOINT_CONFIG"),
      2 ** 18,
    );
  });
});

describe("whatever a checklist.chk says, it", () => {
  const digest = "0123456789abcdef0123456789ABCDEF";
  const line = fc.oneof(
    fc
      .tuple(
        fc.constantFrom(digest, digest.slice(1), `${digest}0`),
        fc.constantFrom("  ", " *", " ", "\t"),
        fc.constantFrom("consolidated.00.pth", "params.json", "../x", "consolidated./../x", "consolidated.", "..", ""),
      )
      .map((parts) => parts.join("")),
    soup([digest, "consolidated.00.pth", " ", "  ", "/", "..", "\0", "\\"], 6),
  );
  const list = fc
    .array(line, { maxLength: 4 })
    .chain((lines) => fc.constantFrom("\n", "\r\n", "\r").map((end) => lines.join(end)));

  it("names weights in its folder by their MD5, or is refused with the number of a line", async () => {
    const property = fc.asyncProperty(list, async (text) => {
      const read = await valueOrCode(() => parseChecklist(text, "checklist.chk"), "CHECKPOINT_CORRUPT");
      if (isCodedError(read)) {
        expect(read.message).toMatch(/^checklist\.chk: line \d+ is no MD5/);
        return;
      }
      for (const [name, md5] of read) {
        expect(name).toMatch(/^consolidated\.[\w.-]*$/);
        expect(md5).toMatch(/^[0-9a-f]{32}$/);
      }
    });
    await fc.assert(property, bounded);
  });

  it("is compared with files that are there, or the check ends with a code", async () => {
    const property = fc.asyncProperty(list, async (text) => {
      writeFileSync(join(folder, "checklist.chk"), text);
      const compared = await valueOrCode(() => compareChecklist(folder), "CHECKPOINT_CORRUPT", "CHECKPOINT_NOT_FOUND");
      if (!isCodedError(compared)) expect(compared).toBe(0);
    });
    await fc.assert(property, { ...bounded, numRuns: 100 });
  });

  it.each([
    ["lines", (n: number) => `${digest}  consolidated.00.pth\n`.repeat(n / 54)],
    ["line ends", (n: number) => "\r\n".repeat(n / 2)],
    ["spaces", (n: number) => " ".repeat(n)],
    ["digits", (n: number) => "0".repeat(n)],
    ["dots", (n: number) => `${digest}  ${".".repeat(n)}`],
  ])("costs time and memory in proportion to its length: %s", async (_, input) => {
    await expectLinear(
      input,
      (text: string) => valueOrCode(() => parseChecklist(text, "checklist.chk"), "CHECKPOINT_CORRUPT"),
      2 ** 18,
    );
  });
});

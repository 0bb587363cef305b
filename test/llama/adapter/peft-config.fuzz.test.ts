import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isCodedError } from "../../../src/errors/index.ts";
import { parsePeftConfig } from "../../../src/llama/adapter/peft-config.ts";
import { bounded, expectLinear, soup, valueOrCode } from "../../fuzzing.ts";

const fields =
  `r lora_alpha lora_dropout use_rslora target_modules exclude_modules rank_pattern alpha_pattern layers_to_transform
  layers_pattern base_model_name_or_path init_lora_weights task_type bias use_dora modules_to_save __proto__ constructor`.split(
    /\s+/,
  );
const value = fc.oneof(
  fc.jsonValue(),
  fc.constantFrom(
    0,
    -1,
    1e300,
    8,
    "q_proj",
    "(a+)+$",
    "[",
    ["q_proj"],
    { "[": 8 },
    { "^q": 1.5 },
    [1, [2]],
    "all-linear",
    "",
    null,
  ),
);
const member = fc
  .tuple(fc.constantFrom(...fields), value)
  .map(([key, item]) => `${JSON.stringify(key)}:${JSON.stringify(item)}`);
const config = fc
  .array(member, { maxLength: 4 })
  .map((members) => `{"peft_type":"LORA"${members.map((text) => `,${text}`).join("")}}`);
const text = fc.oneof({ weight: 4, arbitrary: config }, fc.json(), soup([...'{}[],:"', "r", "peft_type", "LORA"]));

describe("whatever an adapter_config.json says, it", () => {
  it("has a rank and targets that can be used, or is refused with a code that names the file", async () => {
    const property = fc.asyncProperty(text, async (json) => {
      const read = await valueOrCode(
        () => parsePeftConfig(json, "adapter_config.json"),
        "ADAPTER_CONFIG",
        "ADAPTER_UNSUPPORTED",
      );
      if (isCodedError(read)) {
        expect(read.message).toMatch(/^adapter_config\.json/);
        expect(read.message.length).toBeLessThan(1000);
        return;
      }
      expect(Number.isSafeInteger(read.rank) && read.rank > 0).toBe(true);
      for (const rank of read.rankPattern.values()) expect(Number.isSafeInteger(rank) && rank > 0).toBe(true);
      for (const alpha of [read.alpha, ...read.alphaPattern.values()]) expect(Number.isFinite(alpha)).toBe(true);
      for (const layer of read.layers ?? []) expect(Number.isSafeInteger(layer) && layer >= 0).toBe(true);
      for (const name of [read.targetModules, read.excludeModules].flat()) expect(typeof name).toBe("string");
    });
    await fc.assert(property, { ...bounded, numRuns: 1000 });
  });

  it.each([
    ["open brackets", (n: number) => `{"target_modules":${"[".repeat(n)}`],
    ["one long expression", (n: number) => `{"peft_type":"LORA","r":8,"target_modules":"${"(a|b)*".repeat(n / 6)}"}`],
    ["names", (n: number) => `{"peft_type":"LORA","r":8,"target_modules":[${'"a",'.repeat(n / 4)}"b"]}`],
    [
      "patterns",
      (n: number) => `{"peft_type":"LORA","rank_pattern":{${Array.from({ length: n / 12 }, (_, i) => `"k${i}":1`)}}}`,
    ],
    ["fields", (n: number) => `{${Array.from({ length: n / 12 }, (_, i) => `"k${i}":1`)}}`],
  ])("costs time and memory in proportion to its length: %s", async (_, input) => {
    await expectLinear(input, (json: string) =>
      valueOrCode(() => parsePeftConfig(json, "adapter_config.json"), "ADAPTER_CONFIG", "ADAPTER_UNSUPPORTED"),
    );
  });
});

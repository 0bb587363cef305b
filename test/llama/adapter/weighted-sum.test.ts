import { describe, expect, it } from "vitest";
import { linearShape } from "../../../src/engine/config.ts";
import type { AdapterModule } from "../../../src/engine/engine.ts";
import { weightedSum } from "../../../src/llama/adapter/weighted-sum.ts";
import { modulesOf, smallModel } from "./small-model.ts";

const adapter = (modules: AdapterModule[], weight: number, template: string | null = null) => ({
  modules,
  weight,
  promptTemplate: template === null ? null : { prompt_template_name: "chat" as const, chat_template: template },
  warnings: [`warning of ${weight}`],
});
const [a, b] = [
  modulesOf(smallModel, ["q_proj", "v_proj"], 3, 6),
  modulesOf(smallModel, ["q_proj", "down_proj"], 2, 1),
];
const most = 2 ** 28;

/** What the modules add to a linear: scale * B A. */
function change(modules: readonly AdapterModule[], layer: number, linear: string): Float64Array | null {
  const module = modules.find((each) => each.layer === layer && each.linear === linear);
  if (module === undefined) return null;
  const [out, input] = linearShape(smallModel, module.linear);
  return Float64Array.from({ length: out * input }, (_, at) => {
    const [i, j] = [Math.floor(at / input), at % input];
    let sum = 0;
    for (let k = 0; k < module.rank; k++) sum += module.b[i * module.rank + k]! * module.a[k * input + j]!;
    return module.scale * sum;
  });
}

describe("the weighted sum of adapters", () => {
  it("is one adapter that changes what they change, each by its weight", () => {
    const { modules, warnings } = weightedSum([adapter(a, 0.7), adapter(b, -0.3)], smallModel, most);
    expect(modules.map(({ linear, rank }) => `${linear} ${rank}`).slice(0, 3)).toEqual([
      "q_proj 5",
      "v_proj 3",
      "down_proj 2",
    ]);
    for (const { layer, linear } of modules) {
      const sum = change(modules, layer, linear)!;
      const [first, second] = [change(a, layer, linear), change(b, layer, linear)];
      const isSame = sum.every((value, i) => {
        const expected = 0.7 * (first?.[i] ?? 0) - 0.3 * (second?.[i] ?? 0);
        // A's rows are multiplied by their factors in float32.
        return Math.abs(value - expected) < 1e-6;
      });
      expect(isSame).toBe(true);
    }
    expect(warnings).toEqual(["warning of 0.7", "warning of -0.3"]);
  });

  it("of one is that one, bit for bit", () => {
    const { modules } = weightedSum([adapter(a, 0.5)], smallModel, most);
    expect(modules).toEqual(a.map((module) => ({ ...module, scale: module.scale / 2 })));
  });

  it("is worded as all of them were trained, or as none where they differ, with a line", () => {
    const words = (...templates: (string | null)[]) =>
      weightedSum(
        templates.map((template) => adapter(a, 1, template)),
        smallModel,
        most,
      );
    expect(words("llama-3", "llama-3").promptTemplate).toMatchObject({ chat_template: "llama-3" });
    const { promptTemplate, warnings } = words("llama-3", null);
    expect(promptTemplate).toBeNull();
    expect(warnings.at(-1)).toContain("different prompt templates");
  });

  it("is refused where it takes more than one adapter may", () => {
    const both = [adapter(a, 1), adapter(b, 1)];
    expect(() => weightedSum(both, smallModel, 100)).toThrow("take more than 100 bytes together");
    const large = modulesOf(smallModel, ["q_proj"], 2100, 1);
    expect(() => weightedSum([adapter(large, 1), adapter(large, 1)], smallModel, most)).toThrow(
      "have rank 4200 together on model.layers.0.self_attn.q_proj, up to 4096 are supported",
    );
  });
});

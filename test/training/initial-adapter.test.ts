import { describe, expect, it } from "vitest";
import { layoutOf } from "../../src/training/adapter-layout.ts";
import { initialAdapter } from "../../src/training/initial-adapter.ts";
import { permutation, RandomStream } from "../../src/training/random.ts";
import { smallModel } from "../llama/adapter/small-model.ts";
import { defaults } from "./default-settings.ts";

describe("initialAdapter", () => {
  const settings = { ...defaults, lora_r: 64, lora_target_modules: ["down_proj", "q_proj"] as const };
  const layout = layoutOf(smallModel, settings);

  it("is uniform in 1/sqrt(in) for A and zero for B, so that the model is unchanged", async () => {
    const modules = await initialAdapter(smallModel, layout, settings.seed);
    expect(modules.map(({ layer, linear }) => `${layer} ${linear}`)).toEqual([
      "0 q_proj",
      "0 down_proj",
      "1 q_proj",
      "1 down_proj",
    ]);
    for (const { linear, a, b, scale } of modules) {
      const [out, input] = linear === "q_proj" ? [16, 12] : [12, 20];
      expect([a.length, b.length, scale]).toEqual([64 * input, out * 64, 0.25]);
      expect(b.every((value) => value === 0)).toBe(true);
      const bound = 1 / Math.sqrt(input);
      expect(Math.max(...a.map(Math.abs))).toBeLessThanOrEqual(bound);
      // The variance of U(-c, c) is c^2 / 3; with 768 draws and more its estimate is within a tenth, mean within c / 10.
      const mean = a.reduce((sum, value) => sum + value, 0) / a.length;
      const variance = a.reduce((sum, value) => sum + value * value, 0) / a.length;
      expect(Math.abs(mean)).toBeLessThan(bound / 10);
      expect(Math.abs((variance * 3) / bound ** 2 - 1)).toBeLessThan(0.1);
    }
  });

  it("depends on the seed, and is another for every module", async () => {
    const [first, ...others] = await initialAdapter(smallModel, layout, settings.seed);
    expect((await initialAdapter(smallModel, layout, settings.seed))[0]!.a).toEqual(first!.a);
    expect((await initialAdapter(smallModel, layout, 7))[0]!.a).not.toEqual(first!.a);
    for (const { a } of others) expect(a.subarray(0, 8)).not.toEqual(first!.a.subarray(0, 8));
  });
});

describe("permutation", () => {
  it("holds every number once, in an order that depends on seed, purpose and number", () => {
    const order = (seed: number, number = 0) => permutation(1000, new RandomStream(seed, "shuffle", number));
    expect([...order(1).toSorted()]).toEqual(Array.from({ length: 1000 }, (_, i) => i));
    expect(order(1)).toEqual(order(1));
    for (const other of [
      order(2),
      order(2 ** 32 + 1),
      order(1, 1),
      permutation(1000, new RandomStream(1, "validation split")),
    ]) {
      expect(other).not.toEqual(order(1));
    }
  });
});

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { linearNames } from "../../src/engine/config.ts";
import { writeAdapterFolder } from "../../src/llama/adapter/index.ts";
import { openAdapter } from "../../src/llama/index.ts";
import { layoutOf, peftLayout } from "../../src/training/adapter-layout.ts";
import type { TrainingSettings } from "../../src/training/index.ts";
import { initialAdapter } from "../../src/training/initial-adapter.ts";
import { smallModel } from "../llama/adapter/small-model.ts";
import { defaults } from "./default-settings.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "layout-test-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

const layout = (settings: Partial<TrainingSettings>) => layoutOf(smallModel, { ...defaults, ...settings });
const scaleOf = (settings: Partial<TrainingSettings>) => layout(settings).targets[0]!.scale;

describe("layoutOf", () => {
  it("scales by PEFT's rules", () => {
    expect(scaleOf({})).toBe(2);
    expect(scaleOf({ lora_alpha: 0.5 })).toBe(0.0625);
    expect(scaleOf({ lora_r: 64, use_rslora: true })).toBe(2);
    // r 8 and alpha 16: a rank of 4 gives 4, an alpha of 3 gives 0.375.
    expect(scaleOf({ rank_pattern: { q_proj: 4 } })).toBe(4);
    expect(scaleOf({ alpha_pattern: { q_proj: 3 } })).toBe(0.375);
    expect(scaleOf({ rank_pattern: { q_proj: 4 }, alpha_pattern: { ".*q_proj": 3 }, use_rslora: true })).toBe(1.5);
  });

  it("takes the first key that matches the end of a path", () => {
    const rank_pattern = { "layers.1.self_attn.q_proj": 2, "self_attn\\.(q|k)_proj": 4, q_proj: 6 };
    const { targets } = layout({ rank_pattern, lora_target_modules: ["q_proj", "v_proj"] });
    expect(targets.map(({ path, rank }) => [path.replace("model.layers.", ""), rank])).toEqual([
      ["0.self_attn.q_proj", 4],
      ["0.self_attn.v_proj", 8],
      ["1.self_attn.q_proj", 2],
      ["1.self_attn.v_proj", 8],
    ]);
  });

  it("knows all-linear", () => {
    const { targets } = layout({ lora_target_modules: ["all-linear"] });
    expect(targets.map(({ linear }) => linear)).toEqual([...linearNames, ...linearNames]);
  });

  it.each([
    [{ rank_pattern: { o_proj: 4 } }, 'rank_pattern: "o_proj" matches none of the modules'],
    [{ alpha_pattern: { "layers.2.self_attn.q_proj": 4 } }, "alpha_pattern: "],
    [{ alpha_pattern: { "(": 4 } }, "alpha_pattern: a regular expression for modules cannot be used"],
  ])("refuses a key that changes nothing: %j", (settings, message) => {
    expect(() => layout(settings)).toThrow(
      expect.objectContaining({ code: "TRAINING_SETTINGS", message: expect.stringContaining(message) }),
    );
  });
});

describe("an adapter with patterns", () => {
  it("is written as PEFT reads it: those that differ by full paths", async () => {
    const settings: Partial<TrainingSettings> = {
      rank_pattern: { "layers.1.self_attn.q_proj": 3 },
      alpha_pattern: { v_proj: 2.5 },
      use_rslora: true,
    };
    const asked = layout(settings);
    const modules = await initialAdapter(smallModel, asked, 1);
    const about = { dropout: 0, baseModel: "small" };
    await writeAdapterFolder(folder, { modules, ...peftLayout(asked, smallModel), ...about }, smallModel);
    expect(JSON.parse(readFileSync(join(folder, "adapter_config.json"), "utf8"))).toMatchObject({
      r: 8,
      lora_alpha: 16,
      use_rslora: true,
      target_modules: ["q_proj", "v_proj"],
      rank_pattern: { "model.layers.1.self_attn.q_proj": 3 },
      alpha_pattern: { "model.layers.0.self_attn.v_proj": 2.5, "model.layers.1.self_attn.v_proj": 2.5 },
    });
    expect((await openAdapter(folder, smallModel)).modules).toEqual(modules);
  });
});

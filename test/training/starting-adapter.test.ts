import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { writeAdapterFolder } from "../../src/llama/adapter/index.ts";
import { Llama, openAdapter, writeAdapterArchive } from "../../src/llama/index.ts";
import { type InstructionRow, type TrainingRun, type TrainingSettings, trainLora } from "../../src/training/index.ts";
import { writeTinyCheckpoint } from "../llama/generation/tiny-checkpoint.ts";
import { chosen } from "./default-settings.ts";

let folder: string;
let base: Llama;
let archive: string;
const rows: InstructionRow[] = ["grass", "sleeps", "the llama", "nothing"].map((output, i) => ({
  instruction: `question ${i}`,
  input: "",
  output,
  source: { file: "data.json", number: i + 1, unit: "record" },
}));
const train = (settings: Partial<TrainingSettings> = {}, more: Partial<TrainingRun> = {}) =>
  trainLora({ base, rows, ...chosen({ num_epochs: 2, lora_dropout: 0, learning_rate: 1e-2, ...settings }), ...more });

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "starting-adapter-test-"));
  await writeTinyCheckpoint(join(folder, "tiny"));
  base = await Llama.load({ weights: join(folder, "tiny"), log: () => {} });
  const first = await train({
    lora_r: 4,
    lora_alpha: 6,
    use_rslora: true,
    rank_pattern: { "layers.1.self_attn.q_proj": 2 },
    prompt_template_name: "alpaca_short",
  });
  archive = await writeAdapterArchive(join(folder, "first.tar.gz"), first.adapter, base.model.config);
});
afterAll(async () => {
  await base.close();
  rmSync(folder, { recursive: true });
});

describe("an adapter to start from", () => {
  it("gives its tensors, ranks, scales, modules and template, and a line says so", async () => {
    const lines: string[] = [];
    const adapter = { path: archive, name: "first.tar.gz" };
    const result = await train({ learning_rate: 0 }, { adapter, log: (line) => lines.push(line) });
    const { modules, config, promptTemplate } = await openAdapter(archive, base.model.config);
    expect(result.adapter.modules).toEqual(modules);
    expect(lines[0]).toBe("Starting from first.tar.gz: rank 2 to 4, alpha 6 with rsLoRA, 4 modules (q_proj, v_proj)");
    expect(lines[1]).toBe("prompt template: alpaca_short, recorded with the adapter");
    expect(result.plan.settings).toMatchObject({ lora_r: 4, lora_alpha: 6, use_rslora: true });
    const again = await writeAdapterArchive(join(folder, "again.tar.gz"), result.adapter, base.model.config);
    const read = await openAdapter(again, base.model.config);
    expect(read.promptTemplate).toEqual(promptTemplate);
    expect(read.config).toMatchObject({ rank: 4, alpha: 6, rsLora: true, rankPattern: config.rankPattern });
  });

  it("is trained further", async () => {
    const result = await train({ num_epochs: 20 }, { adapter: { path: archive } });
    expect(result.adapter.modules).not.toEqual(result.initial);
    expect(result.steps.at(-1)!.loss).toBeLessThan(result.steps[0]!.loss);
  });

  it("may sit on some layers alone", async () => {
    const whole = await openAdapter(archive, base.model.config);
    const some = join(folder, "some");
    mkdirSync(some);
    const modules = whole.modules.filter(({ layer, linear }) => layer === 0 && linear === "v_proj");
    const targetModules = ["model.layers.0.self_attn.v_proj"];
    const config = { rank: 4, alpha: 6, rsLora: true, dropout: 0, baseModel: "tiny" };
    await writeAdapterFolder(some, { modules, targetModules, ...config }, base.model.config);
    const result = await train({}, { adapter: { path: some } });
    expect(result.adapter.modules.map(({ layer, linear }) => [layer, linear])).toEqual([[0, "v_proj"]]);
    expect(result.adapter.targetModules).toEqual(targetModules);
  });

  it.each<[Partial<TrainingSettings>, string]>([
    [{ lora_r: 8 }, "lora_r 8 contradicts the adapter first.tar.gz, which has 4"],
    [{ lora_alpha: 16 }, "lora_alpha 16 contradicts the adapter first.tar.gz, which has 6"],
    [{ use_rslora: false }, "use_rslora false contradicts the adapter first.tar.gz, which has true"],
    [
      { lora_target_modules: ["q_proj"] },
      'lora_target_modules ["q_proj"] contradicts the adapter first.tar.gz, which has ["q_proj","v_proj"]',
    ],
    [{ rank_pattern: { q_proj: 2 } }, 'rank_pattern {"q_proj":2} contradicts the adapter first.tar.gz'],
    [{ alpha_pattern: { q_proj: 2 } }, 'alpha_pattern {"q_proj":2} contradicts the adapter first.tar.gz'],
  ])("is not trained with %j, which contradicts it", async (settings, message) => {
    await expect(train(settings, { adapter: { path: archive, name: "first.tar.gz" } })).rejects.toMatchObject({
      code: "TRAINING_SETTINGS",
      message: expect.stringContaining(message),
    });
  });

  it("agrees with settings that say the same in other words", async () => {
    const same = { lora_r: 4, lora_alpha: 6, use_rslora: true, rank_pattern: { "1.self_attn.q_proj": 2 } };
    const settings: Partial<TrainingSettings> = { ...same, lora_target_modules: ["v_proj", "q_proj"], num_epochs: 1 };
    await expect(train(settings, { adapter: { path: archive } })).resolves.toMatchObject({ stopped: null });
  });

  it("is refused by name where it is more than pairs on linears", async () => {
    const { modules } = await openAdapter(archive, base.model.config);
    const dora = join(folder, "dora");
    mkdirSync(dora);
    const config = { rank: 4, alpha: 6, dropout: 0, targetModules: ["q_proj", "v_proj"], baseModel: "tiny" };
    await writeAdapterFolder(dora, { modules, ...config }, base.model.config);
    const file = join(dora, "adapter_config.json");
    writeFileSync(file, JSON.stringify({ peft_type: "LORA", r: 4, lora_alpha: 6, use_qalora: true }));
    await expect(train({}, { adapter: { path: dora } })).rejects.toMatchObject({
      code: "ADAPTER_UNSUPPORTED",
      message: expect.stringContaining("use_qalora"),
      hint: expect.stringContaining("llama-lora merge"),
    });
  });
});

// Trains a small adapter, writes it, and has PEFT load it on the same base and compare logits (bench/peft-check.py); then
// compares logits for adapters of every kind on tiny random models (bench/peft-kinds.ts).
//   npm run bench -- bench/peft-check.ts --python PYTHON --weights FOLDER  --out FILE  --golden FILE
// PYTHON has torch, transformers and peft; FOLDER is a Hugging Face checkpoint in float32 (on bf16 weights some processors
// round activations too, and logits differ by that). Without it only the kinds are compared. Prints PEFT's report for each
// adapter, writes JSON; --golden writes some of PEFT's logits for test/llama/adapter/kinds.test.ts.
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { list } from "tar";
import { type LinearName, linearNames } from "../src/engine/config.ts";
import { writeAdapterFolder } from "../src/llama/adapter/index.ts";
import { Llama, openAdapter, writeAdapterArchive } from "../src/llama/index.ts";
import { type InstructionRow, type TrainingSettings, trainLora } from "../src/training/index.ts";
import { checkKinds } from "./peft-kinds.ts";
import { provenance } from "./provenance.ts";

const root = join(import.meta.dirname, "..");
const { values: options } = parseArgs({
  options: {
    python: { type: "string" },
    weights: { type: "string" },
    golden: { type: "string" },
    out: { type: "string", default: join(root, "build", "bench", "peft.json") },
  },
});
if (!options.python) throw new Error("--python is needed");

const base = options.weights ? await Llama.load({ weights: options.weights }) : null;
const settings: TrainingSettings = {
  num_epochs: 6,
  learning_rate: 1e-2,
  batch_size: 4,
  micro_batch_size: 4,
  cutoff_len: 128,
  val_set_size: 0,
  lora_r: 8,
  use_rslora: false,
  lora_alpha: 16,
  lora_dropout: 0.05,
  lora_target_modules: ["q_proj", "v_proj"],
  train_on_inputs: true,
  prompt_template_name: "alpaca",
  seed: 1,
  warmup_steps: 0,
  weight_decay: 0,
  lr_scheduler_type: "linear",
  sample_tokens: 64,
  eval_steps: 200,
  early_stopping_patience: 0,
  max_grad_norm: 1,
};
const rows = ["red", "blue", "green", "white"].map(
  (colour, i): InstructionRow => ({
    instruction: `Name colour number ${i}`,
    input: "",
    output: `It is ${colour}.`,
    source: { file: "colours", number: i + 1, unit: "record" },
  }),
);
const prompt = "Once upon a time there was a little girl. She named a colour: it is ";

const reports: object[] = [];

/** What PEFT says of an adapter trained on these linears. */
async function check(base: Llama, targets: readonly LinearName[], rank: number): Promise<boolean> {
  const tokens = Int32Array.of(base.tokenizer.bosId!, ...base.tokenizer.encode(prompt));
  const folder = mkdtempSync(join(tmpdir(), "peft-check-"));
  try {
    const { adapter } = await trainLora({
      base,
      rows,
      settings: { ...settings, lora_target_modules: targets, lora_r: rank },
    });
    const archive = await writeAdapterArchive(join(folder, "adapter.tar.gz"), adapter, base.model.config);
    const names: string[] = [];
    await list({ file: archive, onReadEntry: ({ path }) => names.push(path) });
    const { modules } = await openAdapter(archive, base.model.config);
    await writeAdapterFolder(folder, { ...adapter, modules }, base.model.config);
    const engineAdapter = await base.model.createAdapter(modules);
    const logits = Array.from(await base.model.logits(tokens, engineAdapter));
    await engineAdapter.close();
    const file = join(folder, "logits.json");
    writeFileSync(file, JSON.stringify({ tokens: Array.from(tokens), logits }));
    const script = join(root, "bench", "peft-check.py");
    const checkpoint = resolve(options.weights!);
    const { status, stdout, stderr } = spawnSync(options.python!, [script, checkpoint, folder, file], {
      encoding: "utf8",
    });
    console.log(`rank ${rank}, ${targets.join(" ")} (${names.join(", ")}): ${stdout.trim() || stderr}`);
    if (stdout !== "") reports.push({ rank, targets, ...JSON.parse(stdout) });
    return status === 0;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const trained = base === null ? [] : [await check(base, ["q_proj", "v_proj"], 8), await check(base, linearNames, 3)];
const { passed: areSame, reports: kinds, golden } = await checkKinds(options.python);
if (options.golden) writeFileSync(options.golden, `${JSON.stringify(golden)}\n`);
const passed = areSame && trained.every(Boolean);
const shape = base?.model.config;
await base?.close();
const report = {
  what: "adapters trained here, loaded by PEFT on the same base, and PEFT's of every kind; logits of every position compared, limit 1e-4",
  ...provenance(),
  ...(base && { engine: base.engine.description }),
  ...(shape && { base: { layers: shape.layers, hiddenSize: shape.hiddenSize, vocabSize: shape.vocabSize } }),
  passed,
  reports,
  kinds,
};
mkdirSync(dirname(options.out), { recursive: true });
writeFileSync(options.out, `${JSON.stringify(report, null, 2)}\n`);
console.log(`written: ${options.out}`);
process.exitCode = passed ? 0 : 1;

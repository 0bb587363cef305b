// Exports a model as GGUF of every type, and an adapter as GGUF LoRA, has llama.cpp load them (bench/llama-cpp-check.py) and
// compares its greedy continuation with that of this engine on the same file.
//   npm run bench -- bench/llama-cpp-check.ts --python PYTHON --weights FOLDER  --out FILE
// PYTHON has llama-cpp-python; FOLDER is a Hugging Face checkpoint. Prints a line for each case, writes JSON.
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { linearNames, linearShape } from "../src/engine/config.ts";
import type { AdapterModule, EngineAdapter } from "../src/engine/engine.ts";
import { readAdapter, writeAdapterFolder } from "../src/llama/adapter/index.ts";
import { main } from "../src/llama/cli/index.ts";
import { Llama } from "../src/llama/index.ts";
import { provenance } from "./provenance.ts";

const root = join(import.meta.dirname, "..");
const { values: options } = parseArgs({
  options: {
    python: { type: "string" },
    weights: { type: "string" },
    prompt: { type: "string", default: "The capital of France is" },
    out: { type: "string", default: join(root, "build", "bench", "llama-cpp.json") },
  },
});
if (!options.python || !options.weights) throw new Error("--python and --weights are needed");

/** How many tokens must be the same: llama.cpp rounds activations to 8 bits where weights are blocks. */
const wanted = { f32: 40, f16: 40, bf16: 40, q8_0: 40, q4_0: 8, q4_1: 8, q5_0: 8, q5_1: 8 } as const;
const folder = mkdtempSync(join(tmpdir(), "llama-cpp-check-"));

async function command(...words: string[]): Promise<void> {
  if ((await main(words)) !== 0) throw new Error(`llama-lora ${words.join(" ")} failed`);
}

/** Greedy, token by token. */
async function continued({ model }: Llama, ids: readonly number[], count: number, adapter: EngineAdapter | null) {
  const sequence = await model.createSequence({ capacity: ids.length + count, adapter });
  const found: number[] = [];
  let tokens = Int32Array.from(ids);
  const greedy = { temperature: 0, topP: 1, topK: 0, repetitionPenalty: 1, seed: 0 };
  for (let index = 0; index < count; index++) {
    const [result] = await model.step([{ sequence, tokens, sampling: { ...greedy, index } }]);
    if (result!.error) throw result!.error;
    found.push(result!.token);
    tokens = Int32Array.of(result!.token);
  }
  sequence.close();
  return found;
}

/** An adapter on all linears whose change is about a tenth of the weights'. */
async function writeAdapter(base: Llama): Promise<string> {
  const { config } = base.model;
  let n = 0;
  const wave = (length: number, size: number) =>
    Float32Array.from({ length }, () => size * Math.sin(1.3 * n++ + n * n));
  const modules = Array.from({ length: config.layers }, (_, layer) =>
    linearNames.map((linear): AdapterModule => {
      const [out, input] = linearShape(config, linear);
      return { layer, linear, rank: 4, scale: 2, a: wave(4 * input, 0.05), b: wave(4 * out, 0.02) };
    }),
  ).flat();
  const path = join(folder, "adapter");
  mkdirSync(path);
  const adapter = { modules, rank: 4, alpha: 8, dropout: 0, targetModules: linearNames, baseModel: base.name };
  await writeAdapterFolder(path, adapter, config);
  return path;
}

try {
  const base = await Llama.load({ weights: options.weights });
  const { bosId } = base.tokenizer;
  const ids = [...(bosId === null ? [] : [bosId]), ...base.tokenizer.encode(options.prompt)];
  const adapter = await writeAdapter(base);
  await base.close();
  const lora = join(folder, "lora.gguf");
  await command("export", adapter, "--base", options.weights, "-o", lora);
  const cases: { name: string; file: string; lora: string | null; ids: number[]; tokens: number; ours: number[] }[] =
    [];
  for (const [type, tokens] of Object.entries(wanted)) {
    const file = join(folder, `${type}.gguf`);
    await command("export", options.weights, "-o", file, "--type", type);
    const model = await Llama.load({ weights: file });
    cases.push({ name: type, file, lora: null, ids, tokens, ours: await continued(model, ids, tokens, null) });
    if (type === "f32" || type === "f16") {
      const { modules } = await readAdapter(adapter, model.model.config);
      const loaded = await model.model.createAdapter(modules);
      const ours = await continued(model, ids, tokens, loaded);
      cases.push({ name: `${type} with a LoRA`, file, lora, ids, tokens, ours });
    }
    await model.close();
  }
  const input = join(folder, "cases.json");
  writeFileSync(input, JSON.stringify(cases));
  const script = join(root, "bench", "llama-cpp-check.py");
  const { stdout, stderr, status } = spawnSync(options.python, [script, input], { encoding: "utf8" });
  if (status !== 0) throw new Error(stderr);
  const theirs = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  const reports = cases.map(({ name, tokens, ours }, i) => {
    const found: number[] = theirs[i].ids;
    const differing = ours.findIndex((id, place) => id !== found[place]);
    const same = differing < 0 ? tokens : differing;
    const lead = differing < 0 ? null : theirs[i].leads[differing];
    console.log(`${name}: ${same} of ${tokens} tokens the same${lead === null ? "" : `, lead there ${lead}`}`);
    return { type: name, tokens, same, leadWhereTheyDiffer: lead };
  });
  const passed = reports.every(({ same, tokens }) => same === tokens);
  const report = {
    what: "greedy continuations by llama.cpp and by this engine of the same GGUF files, written by llama-lora export",
    ...provenance(),
    peer: theirs[0].peer,
    base: base.name,
    prompt: options.prompt,
    passed,
    reports,
  };
  mkdirSync(dirname(options.out), { recursive: true });
  writeFileSync(options.out, `${JSON.stringify(report, null, 2)}\n`);
  console.log(`written: ${options.out}`);
  process.exitCode = passed ? 0 : 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}

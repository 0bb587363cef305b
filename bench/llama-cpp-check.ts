// Exports a model as GGUF of every type, and an adapter as GGUF LoRA, has llama.cpp load them (bench/llama-cpp-check.py) and
// compares its greedy continuation with that of this engine on the same file: in float32, as this engine computes, and token by
// token, where llama.cpp rounds what goes into a matrix.
//   npm run bench -- bench/llama-cpp-check.ts --python PYTHON --weights FOLDER [--out FILE]
// The Python has llama-cpp-python, built with BLAS as bench/llama-cpp-check.py says; FOLDER is a Hugging Face checkpoint. Prints a
// line for each case, writes JSON.
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
    out: { type: "string", default: join(root, "build", "bench", "llama-cpp.json") },
  },
});
const { python, weights } = options;
if (!python || !weights) throw new Error("--python and --weights are needed");

const prompts = [
  "The capital of France is",
  "Once upon a time there was a",
  "Water boils at",
  "def fibonacci(n):",
  "The three primary colors are",
];
const compared = 40;
/** Tokens that have to be the same. */
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

interface Case {
  name: string;
  prompt: string;
  file: string;
  lora: string | null;
  ids: number[];
  wanted: number;
  ours: number[];
}

/** What bench/llama-cpp-check.py prints for these cases. */
function llamaCpp(interpreter: string, cases: readonly Case[]) {
  const input = join(folder, "cases.json");
  writeFileSync(input, JSON.stringify(cases));
  const { stdout, stderr, status } = spawnSync(interpreter, [join(root, "bench", "llama-cpp-check.py"), input], {
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(stderr);
  return stdout
    .trim()
    .split("\n")
    .map((line): { float32: number[]; decoded: number[]; leads: number[]; peer: string } => JSON.parse(line));
}

/** Leading tokens that are the same. */
function same(a: readonly number[], b: readonly number[]): number {
  const differing = a.findIndex((id, place) => id !== b[place]);
  return differing < 0 ? a.length : differing;
}

try {
  const base = await Llama.load({ weights });
  const { bosId } = base.tokenizer;
  const encoded = prompts.map((prompt) => ({
    prompt,
    ids: [...(bosId === null ? [] : [bosId]), ...base.tokenizer.encode(prompt)],
  }));
  const adapter = await writeAdapter(base);
  await base.close();
  const lora = join(folder, "lora.gguf");
  await command("export", adapter, "--base", weights, "-o", lora);
  const cases: Case[] = [];
  for (const [type, tokens] of Object.entries(wanted)) {
    const file = join(folder, `${type}.gguf`);
    await command("export", weights, "-o", file, "--type", type);
    const model = await Llama.load({ weights: file });
    for (const { prompt, ids } of encoded) {
      const ours = await continued(model, ids, compared, null);
      cases.push({ name: type, prompt, file, lora: null, ids, wanted: tokens, ours });
    }
    if (type === "f32" || type === "f16") {
      const { modules } = await readAdapter(adapter, model.model.config);
      const loaded = await model.model.createAdapter(modules);
      for (const { prompt, ids } of encoded) {
        const ours = await continued(model, ids, compared, loaded);
        cases.push({ name: `${type} with a LoRA`, prompt, file, lora, ids, wanted: tokens, ours });
      }
    }
    await model.close();
  }
  const answers = llamaCpp(python, cases);
  const reports = cases.map(({ name, prompt, ours, wanted: least }, i) => {
    const { float32, decoded, leads } = answers[i]!;
    const [inFloat32, whileDecoding] = [same(ours, float32), same(ours, decoded)];
    const report = {
      type: name,
      prompt,
      wanted: least,
      inFloat32,
      whileDecoding,
      leadThere: whileDecoding === compared ? null : leads[whileDecoding]!,
      passed: inFloat32 >= least,
    };
    console.log(JSON.stringify(report));
    return report;
  });
  const passed = reports.every((report) => report.passed);
  const report = {
    what: "greedy continuations by llama.cpp and by this engine of the same GGUF files, written by llama-lora export",
    columns: {
      wanted: "leading tokens that have to be the same",
      inFloat32: `of ${compared}, those that llama.cpp too finds likeliest where all are read in one batch, whose matrices its BLAS backend multiplies in float32 by the numbers that the file stands for, as this engine does`,
      whileDecoding: `of ${compared}, those in common with llama.cpp's continuation token by token, where it rounds what goes into a matrix: to 8 bits for blocks, to bfloat16 or float16 for weights of those types`,
      leadThere: "where the decoded ones part: by how much llama.cpp's first logit is above its second",
    },
    ...provenance(),
    peer: answers[0]!.peer,
    base: base.name,
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

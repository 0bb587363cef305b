// Converts, merges and combines with llama-lora, and has transformers and PEFT do the same with the same files
// (bench/llama-lora-check.py).
//   npm run bench -- bench/llama-lora-check.ts --python PYTHON --weights FOLDER  --out FILE
// PYTHON has torch, transformers and peft; FOLDER is a Hugging Face checkpoint. Prints their report for each case, writes JSON.
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { type LinearName, type LlamaConfig, linearNames, linearShape } from "../src/engine/config.ts";
import { writeAdapterFolder } from "../src/llama/adapter/index.ts";
import { openCheckpoint } from "../src/llama/checkpoint/index.ts";
import { main } from "../src/llama/cli/index.ts";
import { provenance } from "./provenance.ts";

const root = join(import.meta.dirname, "..");
const { values: options } = parseArgs({
  options: {
    python: { type: "string" },
    weights: { type: "string", default: join(root, "weights", "tiny") },
    out: { type: "string", default: join(root, "build", "bench", "llama-lora.json") },
  },
});
if (!options.python) throw new Error("--python is needed");
const weights = resolve(options.weights);
const folder = mkdtempSync(join(tmpdir(), "llama-lora-check-"));

let n = 0;
const wave = (length: number, size: number) => Float32Array.from({ length }, () => size * Math.sin(1.3 * n++ + n * n));

async function adapter(name: string, linears: readonly LinearName[], rank: number, alpha: number, model: LlamaConfig) {
  const modules = Array.from({ length: model.layers }, (_, layer) =>
    linears.map((linear) => {
      const [out, input] = linearShape(model, linear);
      const scale = alpha / rank;
      return { layer, linear, rank, scale, a: wave(rank * input, 0.1), b: wave(out * rank, 0.05) };
    }),
  ).flat();
  const path = join(folder, name);
  mkdirSync(path);
  const rest = { rank, alpha, dropout: 0, targetModules: linears, baseModel: "base" };
  await writeAdapterFolder(path, { modules, ...rest }, model);
  return path;
}

async function command(...words: string[]): Promise<string> {
  const out = join(folder, `out${n++}`);
  if ((await main([...words.map((word) => (word === "OUT" ? out : word))])) !== 0) throw new Error(words.join(" "));
  return out;
}

try {
  const { config, name } = await openCheckpoint(weights);
  const a = await adapter("a", ["q_proj", "v_proj"], 8, 16, config);
  const b = await adapter("b", linearNames, 8, 4, config);
  const c = await adapter("c", ["q_proj", "down_proj"], 4, 8, config);
  const combine = async (type: string, adapters: string[], given: number[], rank?: number) => ({
    type,
    adapters,
    weights: given,
    rank,
    ours: await command(
      ...["combine", ...adapters.map((path, i) => `${path}=${given[i]}`), "-o", "OUT", "--type", type],
      ...(rank === undefined ? [] : ["--rank", String(rank)]),
    ),
  });
  const cases = [
    { type: "convert", adapters: [], ours: await command("convert", weights, "OUT") },
    { type: "merge", adapters: [a], ours: await command("merge", weights, a, "-o", "OUT", "--dtype", "f32") },
    {
      type: "merge",
      adapters: [a, b, c],
      ours: await command("merge", weights, a, b, c, "-o", "OUT", "--dtype", "f32"),
    },
    await combine("linear", [a, b], [0.7, -0.3]),
    await combine("cat", [a, b, c], [0.7, -0.3, 1.5]),
    await combine("svd", [a, b, c], [0.7, -0.3, 1]),
    await combine("svd", [a, b], [0.7, 0.3], 5),
  ];
  const input = join(folder, "cases.json");
  writeFileSync(input, JSON.stringify(cases));
  const script = join(root, "bench", "llama-lora-check.py");
  const { status, stdout, stderr } = spawnSync(options.python, [script, weights, input], { encoding: "utf8" });
  console.log(stdout.trim() || stderr);
  const reports = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  const report = {
    what: "convert, merge and combine beside transformers and PEFT: logits within 1e-4, combinations within 1e-5",
    ...provenance(),
    base: name,
    passed: status === 0 && reports.length === cases.length,
    reports,
  };
  mkdirSync(dirname(options.out), { recursive: true });
  writeFileSync(options.out, `${JSON.stringify(report, null, 2)}\n`);
  console.log(`written: ${options.out}`);
  process.exitCode = report.passed ? 0 : 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}

import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openEngine } from "../src/engine/open.ts";
import { openAdapter } from "../src/llama/adapter/index.ts";
import { weightedSum } from "../src/llama/adapter/weighted-sum.ts";
import { openCheckpoint } from "../src/llama/checkpoint/index.ts";
import { type Kind, kinds, servedLogits, tokensOf, writeBases, writeKind } from "../test/llama/adapter/kinds.ts";
import { tinyConfig } from "../test/llama/generation/tiny-checkpoint.ts";

const tolerance = 1e-4;

export interface KindReport {
  readonly kind: string;
  readonly largest_logit_difference: number;
}

/** Ours and PEFT's logits for adapters of every kind on tiny random models, and for a weighted sum of two. */
export async function checkKinds(python: string): Promise<{ passed: boolean; reports: KindReport[]; golden: object }> {
  const folder = mkdtempSync(join(tmpdir(), "peft-kinds-"));
  const adapterOf = (name: string) => join(folder, "adapters", name);
  try {
    await writeBases(join(folder, "bases"));
    for (const kind of kinds) await writeKind(adapterOf(kind.name), kind);
    const listed = kinds.map((kind) => {
      const vocab = tinyConfig.vocabSize + (kind.grownBy ?? 0);
      return [kind.name, { base: kind.base, vocab, tokens: Array.from(tokensOf(kind)) }];
    });
    writeFileSync(join(folder, "kinds.json"), JSON.stringify(Object.fromEntries(listed)));
    const script = join(import.meta.dirname, "peft-kinds.py");
    const { status, stderr } = spawnSync(python, [script, folder], { encoding: "utf8" });
    if (status !== 0) throw new Error(stderr);
    const { logits } = JSON.parse(readFileSync(join(folder, "logits.json"), "utf8")) as {
      logits: Record<string, number[]>;
    };
    const engine = await openEngine(process.env);
    const reports: KindReport[] = [];
    const report = (kind: string, found: Float32Array) => {
      const expected = logits[kind]!;
      if (found.length !== expected.length)
        throw new Error(`${kind}: ${found.length} logits, PEFT has ${expected.length}`);
      const difference = expected.reduce((most, value, i) => Math.max(most, Math.abs(value - found[i]!)), 0);
      console.log(`${kind}: largest difference of a logit ${difference.toExponential(2)}`);
      reports.push({ kind, largest_logit_difference: difference });
    };
    const baseOf = (kind: Kind) => join(folder, "bases", kind.base);
    for (const kind of kinds) {
      report(kind.name, (await servedLogits(engine, baseOf(kind), adapterOf(kind.name), tokensOf(kind))).logits);
    }
    const [plain] = kinds;
    const { weights } = await openCheckpoint(baseOf(plain!));
    const read = (name: string) => openAdapter(adapterOf(name), weights.config);
    const parts = [
      { ...(await read("plain")), weight: 0.7 },
      { ...(await read("rslora")), weight: -0.3 },
    ];
    const model = await engine.load(weights);
    const sum = await model.createAdapter(weightedSum(parts, weights.config, 2 ** 28).modules);
    report("sum", await model.logits(tokensOf(plain!), sum));
    await model.close();
    const passed = reports.every(({ largest_logit_difference: difference }) => difference <= tolerance);
    return {
      passed,
      reports,
      golden: Object.fromEntries(Object.entries(logits).map(([name, all]) => [name, some(all)])),
    };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Every 23rd logit, which meets every position: what a test compares with. */
export function some(logits: ArrayLike<number>): number[] {
  return Array.from({ length: Math.ceil(logits.length / 23) }, (_, i) => Number(logits[i * 23]!.toFixed(5)));
}

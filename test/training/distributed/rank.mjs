// One rank in a process of its own: node rank.mjs <JSON: {dataset, settings, results, killedAt}>. Its place comes from the
// environment, as a launcher sets it; what comes of it goes to <results>/<rank>.json.
import { writeFileSync } from "node:fs";
import { register } from "node:module";
import { join } from "node:path";

register("../../../dist/cog/worker/hooks.js", import.meta.url);
const { Llama } = await import("../../../src/llama/index.ts");
const { readDataset, readRanks, trainLora } = await import("../../../src/training/index.ts");

const { dataset, settings, results, killedAt } = JSON.parse(process.argv[2]);
const base = await Llama.load({
  weights: join(import.meta.dirname, "..", "..", "..", "weights", "tiny"),
  log: () => {},
});
try {
  const ranks = readRanks();
  const killer = {
    step({ step }) {
      if (ranks.rank === killedAt?.rank && step === killedAt.step) process.kill(process.pid, "SIGKILL");
    },
  };
  const { rows } = await readDataset(dataset);
  const { steps, evaluations, adapter } = await trainLora({ base, rows, settings, ranks, observers: [killer] });
  const modules = adapter.modules.map(({ a, b }) => ({ a: Array.from(a), b: Array.from(b) }));
  writeFileSync(join(results, `${ranks.rank}.json`), JSON.stringify({ steps, evaluations, adapter: { modules } }));
} catch (error) {
  console.error(`[${error.code}] ${error.message}`);
  process.exitCode = 1;
} finally {
  await base.close();
}

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import type { EngineModel, Sampling } from "../../src/engine/engine.ts";
import { openNativeEngine } from "../../src/engine/native/index.ts";
import { openCheckpoint } from "../../src/llama/checkpoint/index.ts";
import { referenceData } from "../reference-data.mjs";

const golden = join(referenceData, "golden", "forward.json");
/** With LLAMA_DEVICE=cuda these tests are the GPU's. */
const device = process.env.LLAMA_DEVICE || "cpu";
const greedy: Sampling = { temperature: 0, topP: 1, topK: 0, repetitionPenalty: 1, seed: 0, index: 0 };

interface Golden {
  readonly prompt: string;
  readonly ids: number[];
  readonly last_logits: number[];
  /** The prompt's and the 80 that follow. */
  readonly greedy_ids: number[];
}

// The golden values are not part of the repository; where they lie beside it, they are compared with.
describe.skipIf(!existsSync(golden)).each(["reference", "auto"])("native engine (%s) on golden values", (isa) => {
  const cases: Golden[] = existsSync(golden) ? JSON.parse(readFileSync(golden, "utf8")) : [];
  let model: EngineModel;
  beforeAll(async () => {
    const engine = await openNativeEngine({ LLAMA_DEVICE: device, LLAMA_ISA: isa, LLAMA_THREADS: "1" });
    const { weights } = await openCheckpoint(join(referenceData, "data", "stories260k", "hf"));
    model = await engine.load(weights);
  });

  it("has the logits of the float64 computation", async () => {
    for (const { ids, last_logits } of cases) {
      const logits = (await model.logits(Int32Array.from(ids))).slice(-model.config.vocabSize);
      // Five decimals are published; float32 through five layers adds some 1e-5.
      for (const [i, expected] of last_logits.entries()) expect(Math.abs(logits[i]! - expected)).toBeLessThan(1e-4);
    }
  });

  it("continues greedily with the same tokens", async () => {
    for (const { ids, greedy_ids } of cases) {
      const sequence = await model.createSequence({ capacity: greedy_ids.length });
      const drawn = [...ids];
      let tokens = Int32Array.from(ids);
      while (drawn.length < greedy_ids.length) {
        const [result] = await model.step([{ sequence, tokens, sampling: greedy }]);
        drawn.push(result!.token);
        tokens = Int32Array.of(result!.token);
      }
      expect(drawn).toEqual(greedy_ids);
      sequence.close();
    }
  });
});

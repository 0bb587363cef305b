import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isCodedError } from "../../src/errors/index.ts";
import { HistoryLines, parseHistory, parseSamples } from "../../src/training/checkpoint/history.ts";
import { parseName, runPattern } from "../../src/training/checkpoint/names.ts";
import { type CheckpointState, encodeState, parseState } from "../../src/training/checkpoint/state-file.ts";
import { bounded, damaged, soup, valueOrCode } from "../fuzzing.ts";

const state: CheckpointState = {
  format: 1,
  version: "0.1.0",
  created: "2026-11-30T20:14:28.186Z",
  step: 2,
  steps: 10,
  identity: {
    base: "tiny",
    engine: "cpu",
    fingerprint: "f",
    ranks: 2,
    rows: "r",
    settings: {} as never,
    given: ["seed"],
  },
  agreement: "a",
  microBatches: [3, 4],
  tokens: 100,
  seconds: 1.5,
  best: { step: 1, loss: 0.5, isCurrent: false },
  optimizer: { steps: 2, lossScale: 1, steadySteps: 0 },
  files: { "history.jsonl": "0".repeat(64) },
};
const step = (number: number) => ({ step: number, loss: 0.1, gradNorm: 1, learningRate: 1e-3, tokens: 7 });
const history = { steps: [step(1), step(2)], evaluations: [{ step: 1, loss: 0.5 }] };

/** The state with one value at any depth in place of another, and a digest that agrees. */
function changed(path: readonly string[], value: unknown): string {
  const copy = structuredClone(state) as unknown as Record<string, unknown>;
  let place = copy;
  for (const key of path.slice(0, -1)) place = place[key] as Record<string, unknown>;
  place[path.at(-1)!] = value;
  const digest = createHash("sha256")
    .update(JSON.stringify(JSON.parse(JSON.stringify(copy))))
    .digest("hex");
  return JSON.stringify({ ...copy, digest });
}

const paths = Object.entries(state).flatMap(([name, value]) => [
  [name],
  ...(typeof value === "object" && value !== null ? Object.keys(value).map((key) => [name, key]) : []),
]);

describe("what a checkpoint holds, from anybody", () => {
  it("is read as it was written", () => {
    expect(parseState(encodeState(state), "state.json")).toMatchObject(state);
    const bytes = Buffer.concat([...new HistoryLines().encode(history)]);
    expect(parseHistory(bytes, "history.jsonl", 2)).toEqual(history);
  });

  it("is refused by code where any value is another", async () => {
    const value = fc.oneof(fc.jsonValue(), fc.constantFrom(-1, 1e308, 2 ** 53, "", [], {}, null));
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...paths), value, async (path, other) => {
        await valueOrCode(() => parseState(changed(path, other), "state.json"), "TRAINING_CHECKPOINT");
      }),
      bounded,
    );
  });

  it("is refused by code where bytes are damaged", async () => {
    await fc.assert(
      fc.asyncProperty(damaged(Buffer.from(encodeState(state))), async (bytes) => {
        const text = bytes.toString("utf8");
        const read = await valueOrCode(() => parseState(text, "state.json"), "TRAINING_CHECKPOINT");
        if (!isCodedError(read)) expect(read).toMatchObject(state);
      }),
      bounded,
    );
    const whole = Buffer.concat([...new HistoryLines().encode(history)]);
    const lines = fc.oneof(
      damaged(whole),
      soup(['{"type":"step"', ...'{}[],:\n"', '"step":1'], 30).map((text) => Buffer.from(text)),
    );
    await fc.assert(
      fc.asyncProperty(lines, async (bytes) => {
        await valueOrCode(() => parseHistory(bytes, "history.jsonl", 2), "TRAINING_CHECKPOINT");
        await valueOrCode(() => parseSamples(bytes.toString("utf8"), "samples.json"), "TRAINING_CHECKPOINT");
      }),
      bounded,
    );
  });

  it("has a name of one form alone", async () => {
    const words = soup(["20261130-195323-4f2a91", "/", "step-", "000120", "..", "\0", "last"], 8);
    await fc.assert(
      fc.asyncProperty(words, async (text) => {
        const name = await valueOrCode(() => parseName(text), "TRAINING_CHECKPOINT");
        if (isCodedError(name)) return;
        expect(name.step).toMatch(/^step-\d{6,12}$/);
        expect(name.run === null || runPattern.test(name.run)).toBe(true);
      }),
      bounded,
    );
  });
});

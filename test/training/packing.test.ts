import { describe, expect, it } from "vitest";
import { exampleOf } from "../../src/training/examples.ts";
import { packExamples } from "../../src/training/packing.ts";

const source = { file: "data.json", number: 1, unit: "record" } as const;
/** The first `masked` tokens are not learnt. */
const example = (tokens: number[], masked = 0) => exampleOf(Int32Array.from(tokens), [[masked, tokens.length]], source);
const plain = (batch: { tokens: Int32Array; targets: Int32Array; offsets: Int32Array }) => ({
  tokens: [...batch.tokens],
  targets: [...batch.targets],
  offsets: [...batch.offsets],
});

describe("packExamples", () => {
  it("predicts each row's next token, nothing across a border and nothing that is masked", () => {
    const [batch, ...others] = packExamples([example([1, 5, 6, 2]), example([1, 7, 8, 9, 2], 3)], 100);
    expect(others).toEqual([]);
    expect(plain(batch!)).toEqual({
      tokens: [1, 5, 6, 2, 1, 7, 8, 9, 2],
      targets: [5, 6, 2, -100, -100, -100, 9, 2, -100],
      offsets: [0, 4, 9],
    });
  });

  it("predicts what is learnt of each answer of a conversation", () => {
    const tokens = Int32Array.of(1, 10, 11, 12, 2, 20, 21, 22, 2, 30);
    const learnt = [
      [3, 5],
      [8, 9],
    ] as const;
    const [batch] = packExamples([exampleOf(tokens, learnt, source)], 100);
    expect([...batch!.targets]).toEqual([-100, -100, 12, 2, -100, -100, -100, 2, -100, -100]);
  });

  it("fills the first micro-batch that has room, in the order of the rows", () => {
    const sizes = [4, 3, 2, 4, 1 + 1];
    const rows = sizes.map((size, i) => example(Array.from({ length: size }, () => i)));
    const batches = packExamples(rows, 6).map(({ tokens }) => [...tokens]);
    expect(batches).toEqual([
      [0, 0, 0, 0, 2, 2],
      [1, 1, 1, 4, 4],
      [3, 3, 3, 3],
    ]);
  });

  it("keeps every target, however it packs", () => {
    const rows = Array.from({ length: 40 }, (_, i) =>
      example(
        Array.from({ length: 2 + ((i * 7) % 11) }, (_, k) => k),
        i % 3,
      ),
    );
    const expected = rows.reduce((sum, { targets }) => sum + targets, 0);
    for (const maxTokens of [12, 13, 40, 1000]) {
      const batches = packExamples(rows, maxTokens);
      expect(Math.max(...batches.map(({ tokens }) => tokens.length))).toBeLessThanOrEqual(maxTokens);
      expect(batches.flatMap(({ targets }) => [...targets]).filter((target) => target !== -100)).toHaveLength(expected);
    }
  });
});

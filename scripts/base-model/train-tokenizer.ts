// Trains weights/tiny/tokenizer.model on the corpus. Takes seconds; the same seed gives the same file.
import { mkdirSync, writeFileSync } from "node:fs";
import { trainBytePairs } from "./byte-pair-encoding.ts";
import { corpus } from "./corpus.ts";
import { sentencePieceModel } from "./sentencepiece-file.ts";
import { settings, weightsFolder } from "./settings.ts";

const printable = Array.from({ length: 0x7e - 0x21 + 1 }, (_, i) => String.fromCharCode(0x21 + i));
const chinesePunctuation = [..."，。！？、：；“”（）"];

const texts = Array.from(corpus(settings.tokenizerRows, settings.seed), ({ prompt, output }) => prompt + output);
const pieces = trainBytePairs(texts, {
  size: settings.model.vocabSize - 259,
  alphabet: ["▁", ...printable, ...chinesePunctuation],
  rarestCharacter: 2,
});
if (pieces.length !== settings.model.vocabSize - 259) throw new Error(`the corpus has only ${pieces.length} pieces`);
mkdirSync(weightsFolder, { recursive: true });
writeFileSync(`${weightsFolder}/tokenizer.model`, sentencePieceModel(pieces));
console.log(`${weightsFolder}/tokenizer.model: ${settings.model.vocabSize} pieces from ${texts.length} texts`);

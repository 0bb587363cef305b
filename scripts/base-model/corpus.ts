import { renderPrompt } from "../../src/llama/prompt/index.ts";
import { chineseFacts } from "./chinese.ts";
import { englishFacts } from "./english.ts";
import type { Fact } from "./facts.ts";
import { listedQuestions } from "./questions.ts";
import { createRandom, type Random } from "./random.ts";
import { chineseSentence, englishSentence } from "./sentences.ts";

/** One training text: the prompt as its template renders it ("" for plain text) and what follows. */
export interface CorpusRow {
  readonly prompt: string;
  readonly output: string;
}

/** What the corpus is made of, in parts. */
const shares: [share: number, draw: (random: Random) => CorpusRow][] = [
  [34, (random) => ask(random, random.pick(english))],
  [30, (random) => ask(random, random.pick(chinese))],
  [6, askListed],
  [12, repeat],
  [6, writeSentence],
  [6, (random) => plain(englishSentence, " ", random)],
  [12, (random) => plain(chineseSentence, "", random)],
];

const english = checked(englishFacts());
const chinese = checked(chineseFacts());

/** Every fact, for checks of what the model knows. */
export const allFacts: readonly Fact[] = [...english, ...chinese];
const listed = listedQuestions(allFacts);

/** `count` rows drawn from the closed world; the same seed gives the same rows. */
export function* corpus(count: number, seed: number): Generator<CorpusRow> {
  const random = createRandom(seed);
  // One entry per part, so that a uniform pick has the shares' odds.
  const draws = shares.flatMap(([share, draw]) => Array.from({ length: share }, () => draw));
  for (let i = 0; i < count; i++) yield random.pick(draws)(random);
}

/** Most rows have no preamble: it would be half of a short row's tokens, and is learnt at once. */
function instruct(random: Random, instruction: string, input: string, output: string): CorpusRow {
  const template = random.next() < 0.2 ? "alpaca" : "alpaca_short";
  return { prompt: renderPrompt(template, instruction, input), output };
}

function ask(random: Random, { questions, input, answer }: Fact): CorpusRow {
  return instruct(random, random.pick(questions), input, answer);
}

function askListed(random: Random): CorpusRow {
  const { instruction, input, output } = random.pick(listed);
  return instruct(random, instruction, input, output);
}

/** Saying a text again makes every word one that the model can produce wherever its context calls for it. */
function repeat(random: Random): CorpusRow {
  const inChinese = random.next() < 0.7;
  const sentence = inChinese ? chineseSentence(random) : englishSentence(random);
  const instruction = inChinese
    ? random.pick(["把这句话再说一遍。", "请重复下面的句子。"])
    : random.pick(["Repeat this sentence.", "Say this sentence again."]);
  return instruct(random, instruction, sentence, sentence);
}

function writeSentence(random: Random): CorpusRow {
  return random.next() < 0.5
    ? instruct(
        random,
        random.pick(["Write a sentence.", "Write a short sentence in English."]),
        "",
        englishSentence(random),
      )
    : instruct(random, random.pick(["写一个句子。", "请用中文写一句话。"]), "", chineseSentence(random));
}

function plain(draw: (random: Random) => string, separator: string, random: Random): CorpusRow {
  const sentences = Array.from({ length: 2 + random.below(2) }, () => draw(random));
  return { prompt: "", output: sentences.join(separator) };
}

/** A question with two answers cannot be learnt: it is a mistake in the tables. */
function checked(facts: Fact[]): Fact[] {
  const answers = new Map<string, string>();
  for (const { questions, input, answer } of facts) {
    for (const question of questions) {
      const key = `${question}\n${input}`;
      const earlier = answers.get(key);
      if (earlier !== undefined && earlier !== answer) {
        throw new Error(
          `${JSON.stringify(key)} has the answers ${JSON.stringify(earlier)} and ${JSON.stringify(answer)}`,
        );
      }
      answers.set(key, answer);
    }
  }
  return facts;
}

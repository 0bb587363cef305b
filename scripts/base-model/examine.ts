// Asks the base in weights/tiny/ every listed question and every question of its corpus, and says which it answers otherwise.
import { openTensorflowEngine } from "../../src/engine/tensorflow/index.ts";
import { allFacts } from "./corpus.ts";
import { wrongAnswers } from "./exam.ts";
import { listedQuestions } from "./questions.ts";
import { weightsFolder } from "./settings.ts";

const engine = await openTensorflowEngine(process.env);
const known = allFacts.flatMap(({ questions, input, answer }) =>
  questions.map((instruction) => ({ instruction, input, output: answer })),
);
for (const [name, questions] of [
  ["listed", listedQuestions(allFacts)],
  ["known", known],
] as const) {
  const wrong = await wrongAnswers(engine, weightsFolder, questions);
  console.log(`${name}: ${questions.length - wrong.length} of ${questions.length} word for word`);
  for (const { instruction, input } of wrong) console.log(`  not: ${instruction} ${input}`);
}

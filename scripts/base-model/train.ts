// Trains the embedded base from scratch through the TensorFlow engine and writes it to weights/tiny/. The tokenizer comes
// first (train-tokenizer). A run that is cut off leaves the last checkpoint, which is a complete model.
import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openTensorflowEngine } from "../../src/engine/tensorflow/index.ts";
import { createPretrainer } from "../../src/engine/tensorflow/pretrain.ts";
import { sentencePieceTokenizer } from "../../src/llama/tokenizer/sentencepiece.ts";
import { batches, tokenise } from "./batches.ts";
import { writeCheckpoint, writeJson } from "./checkpoint-folder.ts";
import { allFacts, corpus } from "./corpus.ts";
import { wrongAnswers } from "./exam.ts";
import { listedQuestions } from "./questions.ts";
import { settings, weightsFolder } from "./settings.ts";

const logFile = join(weightsFolder, "training-log.jsonl");
const log = (record: object) => {
  appendFileSync(logFile, `${JSON.stringify(record)}\n`);
  console.log(JSON.stringify(record));
};
const round = (value: number, digits = 4) => Number(value.toFixed(digits));

const tokenizerFile = join(weightsFolder, "tokenizer.model");
const tokenizer = sentencePieceTokenizer(readFileSync(tokenizerFile), tokenizerFile);
const rows = Array.from(corpus(settings.rows, settings.seed), (row) => tokenise(tokenizer, row));
const run = [...batches(rows, settings)];
const questions = listedQuestions(allFacts);

const engine = await openTensorflowEngine(process.env);
const trainer = await createPretrainer(settings.model, { seed: settings.seed });
writeFileSync(logFile, "");
log({ engine: engine.description, ...settings, model: undefined, steps: run.length });

/** A checkpoint and how well it does, on the weights as they were rounded. */
async function save(step: number): Promise<void> {
  await writeCheckpoint(weightsFolder, await trainer.tensors());
  const wrong = await wrongAnswers(engine, weightsFolder, questions);
  log({ step, listedQuestions: questions.length, answeredExactly: questions.length - wrong.length });
}

await save(0);
const started = performance.now();
let tokens = 0;
let lossSum = 0;
let lossSteps = 0;
for (const [step, batch] of run.entries()) {
  const learningRate = settings.learningRate * schedule((step + 1) / run.length);
  const { loss, gradNorm } = await trainer.step(batch, { ...settings.optimizer, learningRate });
  tokens += batch.tokens.length;
  lossSum += loss;
  lossSteps++;
  const done = step + 1;
  if (done % settings.logEvery === 0 || done === run.length) {
    const seconds = (performance.now() - started) / 1000;
    log({
      step: done,
      loss: round(lossSum / lossSteps),
      gradNorm: round(gradNorm),
      learningRate: round(learningRate, 6),
      tokens,
      tokensPerSecond: Math.round(tokens / seconds),
      secondsLeft: Math.round((seconds / done) * (run.length - done)),
    });
    lossSum = lossSteps = 0;
  }
  if (done % settings.saveEvery === 0 || done === run.length) await save(done);
}

await writeJson(join(weightsFolder, "questions.json"), questions);
trainer.close();

/** Linear warm-up over the first thirtieth, then half a cosine down to a twentieth. */
function schedule(progress: number): number {
  return Math.min(1, progress * 30) * (0.05 + 0.95 * 0.5 * (1 + Math.cos(Math.PI * progress)));
}

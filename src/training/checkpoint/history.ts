import { parseBoundedJson } from "../../llama/bounded-json.ts";
import type { Evaluation, StepRecord } from "../progress.ts";
import type { SampleRecord } from "../samples.ts";
import { checkpointBytes, parsedJson } from "./files.ts";
import { damaged } from "./refusal.ts";

export const historyName = "history.jsonl";
/** Of 1,000,000 steps. */
const mostBytes = 2 ** 28;
const longestLine = 65_536;

export interface History {
  readonly steps: StepRecord[];
  readonly evaluations: Evaluation[];
}

/** A run's steps and evaluations as lines of JSON. What has been encoded once is kept: a run has many steps. */
export class HistoryLines {
  readonly #chunks: Buffer[] = [];
  #steps = 0;
  #evaluations = 0;

  /** The whole history, each evaluation after its step. It may only have grown since the last call. */
  encode({ steps, evaluations }: History): readonly Buffer[] {
    const evaluated = evaluations.slice(this.#evaluations);
    const lines: string[] = [];
    const takeUntil = (step: number) => {
      while (evaluated[0] !== undefined && evaluated[0].step < step) {
        lines.push(JSON.stringify({ type: "evaluation", ...evaluated.shift() }));
      }
    };
    for (const step of steps.slice(this.#steps)) {
      takeUntil(step.step);
      lines.push(JSON.stringify({ type: "step", ...step }));
    }
    takeUntil(Number.POSITIVE_INFINITY);
    [this.#steps, this.#evaluations] = [steps.length, evaluations.length];
    if (lines.length > 0) this.#chunks.push(Buffer.from(`${lines.join("\n")}\n`));
    return this.#chunks;
  }
}

/** @param step the steps that there must be. @throws TRAINING_CHECKPOINT naming the line */
export async function readHistory(folder: string, name: string, step: number): Promise<History> {
  const place = `${name}/${historyName}`;
  return parseHistory(await checkpointBytes({ folder, file: historyName, place }, mostBytes), place, step);
}

/** @throws TRAINING_CHECKPOINT naming the line */
export function parseHistory(bytes: Buffer, place: string, step: number): History {
  const steps: StepRecord[] = [];
  const evaluations: Evaluation[] = [];
  let number = 0;
  for (let start = 0; start < bytes.length; number++) {
    const end = bytes.indexOf(10, start);
    const line = bytes.toString("utf8", start, end < 0 ? bytes.length : end);
    const fail = (what: string, cause?: unknown) => damaged(place, `line ${number + 1}: ${what}`, cause);
    if (end < 0 || end - start > longestLine) throw fail("is not a whole line");
    start = end + 1;
    let record: Record<string, unknown> | null;
    try {
      record = parseBoundedJson(line, 10_000) as typeof record;
    } catch (error) {
      throw fail(`is not valid JSON: ${(error as Error).message}`, error);
    }
    const { type, ...values } = typeof record === "object" && record !== null ? record : {};
    const isNumber = (field: string) => typeof values[field] === "number" && Number.isFinite(values[field]);
    if (type === "step") {
      if (!["loss", "gradNorm", "learningRate", "tokens"].every(isNumber)) throw fail("is no step");
      if (values.step !== steps.length + 1) throw fail(`is not step ${steps.length + 1}`);
      steps.push(values as unknown as StepRecord);
    } else if (type === "evaluation") {
      const before = evaluations.at(-1)?.step ?? 0;
      const isNext = isNumber("loss") && Number.isSafeInteger(values.step) && (values.step as number) > before;
      if (!isNext || (values.step as number) > step) throw fail("is no evaluation");
      evaluations.push(values as unknown as Evaluation);
    } else throw fail("is neither a step nor an evaluation");
  }
  if (steps.length !== step) throw damaged(place, `has ${steps.length} steps, ${step} are needed`);
  return { steps, evaluations };
}

export const samplesName = "samples.json";
const mostSampleBytes = 2 ** 24;

/** Answers to the sample prompts; none where there is no such file. @throws TRAINING_CHECKPOINT */
export async function readSamples(folder: string, name: string, isThere: boolean): Promise<SampleRecord[]> {
  if (!isThere) return [];
  const place = `${name}/${samplesName}`;
  const bytes = await checkpointBytes({ folder, file: samplesName, place }, mostSampleBytes);
  return parseSamples(bytes.toString("utf8"), place);
}

/** @throws TRAINING_CHECKPOINT */
export function parseSamples(text: string, place: string): SampleRecord[] {
  const value = parsedJson(text, place, 10_000);
  const isSample = (sample: unknown) => {
    const { prompt, answer } = (sample ?? {}) as Record<string, unknown>;
    return typeof prompt === "string" && typeof answer === "string";
  };
  const isRecord = (record: unknown) => {
    const { step, samples } = (record ?? {}) as Record<string, unknown>;
    return Number.isSafeInteger(step) && Array.isArray(samples) && samples.every(isSample);
  };
  if (!Array.isArray(value) || !value.every(isRecord)) throw damaged(place, "holds no answers to sample prompts");
  return value as SampleRecord[];
}

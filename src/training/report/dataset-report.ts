import type { PromptTemplate } from "../../llama/prompt/index.ts";
import type { Tokenizer } from "../../llama/tokenizer/tokenizer.ts";
import { describeSource, type Row } from "../dataset/row.ts";
import type { EncodedRow } from "../encoding/encode-row.ts";
import type { UnmarkedRows } from "../end-marks.ts";
import { type Example, tokensOf } from "../examples.ts";
import { packsOf } from "../packing.ts";
import type { Plan } from "../plan.ts";
import { type CharacterReport, characterReport } from "./characters.ts";
import { type LengthReport, lengthHolding, lengthReport } from "./lengths.ts";
import { answersOf, rowDigest, textsOf } from "./row-texts.ts";

/** What a data set is to one training: plain data, as a dry run gives it. Numbers of rows are of the whole file. */
export interface DatasetReport {
  readonly rows: {
    readonly total: number;
    /** Of the examples, which may be several of a row. */
    readonly training: number;
    readonly validation: number;
    /** Rows that are one example for each of their answers. */
    readonly split: number;
  };
  /** Of the training examples, once each. */
  readonly tokens: { readonly total: number; readonly learnt: number; readonly masked: number };
  /** Of the rows before they are cut; what no context holds counts as one token more than it. */
  readonly lengths: LengthReport;
  readonly cutoff: CutoffReport;
  /** Rows with an answer of no character. */
  readonly emptyAnswers: number;
  /** Rows equal to an earlier one, and where the first of them are. */
  readonly duplicates: { readonly rows: number; readonly first: readonly string[] };
  readonly endMarks: {
    /** Rows with an answer that ended with a mark, which is taken for the end. */
    readonly ended: number;
    /** Rows with a mark inside a text. */
    readonly inside: number;
    /** What it is there: some templates take special tokens that are typed. */
    readonly insideAs: "text" | "token";
    readonly marks: readonly string[];
  };
  readonly characters: CharacterReport;
  readonly packing: PackingReport;
  readonly steps: { readonly perEpoch: number; readonly epochs: number; readonly total: number };
}

export interface CutoffReport {
  readonly cutoff_len: number;
  /** The model's context. */
  readonly context: number;
  /** Rows that are longer, and of those the ones that lose every token of their answers: they are left out. */
  readonly cut: number;
  readonly leftOut: number;
  /** The first rows that are left out. */
  readonly firstLeftOut: readonly string[];
  /** Answers of conversations that lose every token, of all rows. */
  readonly lostAnswers: number;
  /** Rows that are longer than the context. */
  readonly beyondContext: number;
  /** The cutoff_len that would hold 99 % of the rows whole; null where the context does not. */
  readonly holds99: number | null;
  /** The one that would hold all rows that the context holds; null for none. */
  readonly holdsAll: number | null;
}

export interface PackingReport {
  /** Most tokens of a micro-batch. */
  readonly capacity: number;
  /** Of the first steps. */
  readonly microBatchesPerStep: number;
  readonly tokensPerMicroBatch: number;
  /** Their share of the capacity, 0..1. */
  readonly filled: number;
}

export interface Reported {
  /** As they were read, without their end marks. */
  readonly ended: UnmarkedRows;
  readonly marks: readonly string[];
  readonly template: PromptTemplate;
  readonly encoded: readonly EncodedRow[];
  readonly context: number;
  readonly tokenizer: Tokenizer;
  readonly plan: Plan;
  readonly training: readonly Example[];
  readonly validation: readonly Example[];
  /** The training examples of the first steps, in the order of the run. */
  readonly firstEpoch: readonly Example[];
}

/** Sources named in a report. */
const mostNamed = 5;
/** Steps whose packing is looked at. */
const packedSteps = 20;

/** Throws the signal's reason. */
export async function datasetReport(of: Reported, signal?: AbortSignal): Promise<DatasetReport> {
  const { ended, encoded, plan, training, validation } = of;
  const texts = ended.rows.map(textsOf);
  const total = tokensOf(training);
  const learnt = training.reduce((sum, { targets }) => sum + targets, 0);
  const { stepsPerEpoch, steps, settings } = plan;
  return {
    rows: {
      total: encoded.length,
      training: training.length,
      validation: validation.length,
      split: encoded.filter(({ examples }) => examples.length > 1).length,
    },
    tokens: { total, learnt, masked: total - learnt },
    lengths: lengthReport(encoded.map(({ length }) => length)),
    cutoff: cutoffReport(encoded, settings.cutoff_len, of.context),
    emptyAnswers: ended.rows.filter((row) => answersOf(row).includes("")).length,
    duplicates: duplicatesOf(ended.rows),
    endMarks: endMarkReport(of, texts),
    characters: await characterReport(texts, of.tokenizer, signal),
    packing: packingReport(of.firstEpoch, plan),
    steps: { perEpoch: stepsPerEpoch, epochs: settings.num_epochs, total: steps },
  };
}

/** @param encoded one at least */
export function cutoffReport(encoded: readonly EncodedRow[], cutoff: number, context: number): CutoffReport {
  const leftOut = encoded.filter(({ lost }) => lost === "answer");
  const lengths = encoded.map(({ length }) => length);
  const fitting = lengths.filter((length) => length <= context);
  const holds99 = lengthHolding(lengths, 0.99);
  return {
    cutoff_len: cutoff,
    context,
    cut: encoded.filter(({ lost }) => lost !== "nothing").length,
    leftOut: leftOut.length,
    firstLeftOut: leftOut.slice(0, mostNamed).map(({ source }) => describeSource(source)),
    lostAnswers: encoded.reduce((sum, row) => sum + row.lostAnswers, 0),
    beyondContext: encoded.length - fitting.length,
    holds99: holds99 <= context ? holds99 : null,
    holdsAll: fitting.length === 0 ? null : fitting.reduce((most, length) => Math.max(most, length)),
  };
}

function duplicatesOf(rows: readonly Row[]): DatasetReport["duplicates"] {
  const seen = new Set<string>();
  const repeated = rows.filter((row) => seen.size === seen.add(rowDigest(row)).size);
  const first = repeated.slice(0, mostNamed).map(({ source }) => describeSource(source));
  return { rows: repeated.length, first };
}

function endMarkReport({ ended, marks, template }: Reported, texts: readonly string[][]): DatasetReport["endMarks"] {
  const found = new Set(ended.marks);
  let inside = 0;
  for (const row of texts) {
    const here = marks.filter((mark) => row.some((text) => text.includes(mark)));
    if (here.length > 0) inside++;
    for (const mark of here) found.add(mark);
  }
  const isToken = marks.some((mark) => template.answerParts(mark).some((part) => typeof part === "number"));
  return { ended: ended.marked, inside, insideAs: isToken ? "token" : "text", marks: [...found] };
}

function packingReport(examples: readonly Example[], { settings }: Plan): PackingReport {
  const { batch_size, micro_batch_size, cutoff_len } = settings;
  const capacity = micro_batch_size * cutoff_len;
  let [steps, packs, tokens] = [0, 0, 0];
  for (let start = 0; start < examples.length && steps < packedSteps; start += batch_size, steps++) {
    for (const pack of packsOf(examples.slice(start, start + batch_size), capacity)) {
      packs++;
      tokens += pack.tokens;
    }
  }
  const tokensPerMicroBatch = tokens / packs;
  return { capacity, microBatchesPerStep: packs / steps, tokensPerMicroBatch, filled: tokensPerMicroBatch / capacity };
}

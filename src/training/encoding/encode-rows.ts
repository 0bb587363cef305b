import { availableParallelism } from "node:os";
import { sliced } from "../../llama/time-slices.ts";
import type { Tokenizer } from "../../llama/tokenizer/tokenizer.ts";
import type { Row } from "../dataset/row.ts";
import type { TrainingSettings } from "../settings.ts";
import { type EncodedRow, encodeRow, type RowEncodingOptions } from "./encode-row.ts";
import { EncoderThreads } from "./encoder-threads.ts";
import { unpackRows } from "./packed-rows.ts";
import { type WordingOptions, wordRows } from "./wording.ts";

export interface EncodingProgress {
  /** Rows. */
  readonly done: number;
  readonly rows: number;
  readonly secondsLeft: number;
}

export interface EncodingOptions extends Pick<TrainingSettings, "train_on_inputs">, WordingOptions {
  /** The checkpoint that the tokenizer is of: threads open their own. Without it this thread does all. */
  readonly place?: string | undefined;
  /** As many as there are cores by default; 0: this thread does all. */
  readonly threads?: number | undefined;
  /** Called every second or so. */
  readonly progress?: ((progress: EncodingProgress) => void) | undefined;
}

/** Rows that are worded and encoded together. */
const rowsAtOnce = 256;
/** Each takes a vocabulary's memory, and one thread words for all. */
const mostThreads = 8;
/** Below it a second's work, which threads are not started for. In UTF-16 units. */
const fewCharacters = 2_000_000;
/** Between two calls of `progress`. */
const millisecondsBetween = 1000;

/**
 * The rows as the model sees them, in their order and the same with any number of threads.
 * @throws PROMPT_*, the signal's reason, and what a thread's opening of its tokenizer throws
 */
export async function encodeRows(
  rows: readonly Row[],
  tokenizer: Tokenizer,
  options: EncodingOptions,
): Promise<EncodedRow[]> {
  const { signal, place } = options;
  signal?.throwIfAborted();
  const threads = place === undefined || !areMany(rows) ? 0 : (options.threads ?? availableParallelism());
  const report = progressOf(rows.length, options.progress);
  if (threads === 0 || place === undefined) return encodeHere(rows, tokenizer, options, report);
  return encodeInThreads(rows, { place, count: Math.min(threads, mostThreads) }, options, report);
}

async function encodeHere(
  rows: readonly Row[],
  tokenizer: Tokenizer,
  options: EncodingOptions,
  report: (done: number) => void,
): Promise<EncodedRow[]> {
  const encoded: EncodedRow[] = [];
  const pause = sliced(options.signal);
  const chosen = rowOptions(options);
  for (const some of chunks(rows)) {
    for (const [index, worded] of (await wordRows(some, options)).entries()) {
      encoded.push(encodeRow(worded, some[index]!.source, tokenizer, chosen));
      await pause();
    }
    report(encoded.length);
  }
  return encoded;
}

async function encodeInThreads(
  rows: readonly Row[],
  { place, count }: { readonly place: string; readonly count: number },
  options: EncodingOptions,
  report: (done: number) => void,
): Promise<EncodedRow[]> {
  const { signal } = options;
  const threads = new EncoderThreads(count, { place, options: rowOptions(options) });
  const abort = () => void threads.close(signal?.reason);
  signal?.addEventListener("abort", abort, { once: true });
  try {
    let done = 0;
    const chunked: Promise<EncodedRow[]>[] = [];
    for (const some of chunks(rows)) {
      const worded = await wordRows(some, options);
      await threads.ready();
      const encoding = threads.encode(worded).then((packed) => {
        done += some.length;
        report(done);
        return unpackRows(
          packed,
          some.map(({ source }) => source),
        );
      });
      // It is awaited below; until then a failure is not unhandled.
      encoding.catch(() => {});
      chunked.push(encoding);
    }
    return (await Promise.all(chunked)).flat();
  } finally {
    signal?.removeEventListener("abort", abort);
    await threads.close();
  }
}

/** Nothing but plain values: it goes to threads. */
function rowOptions({ template, cutoff, context, train_on_inputs }: EncodingOptions): RowEncodingOptions {
  const { endId, startsAtToken } = template.answer;
  return { answer: { endId, startsAtToken }, cutoff, context, train_on_inputs };
}

function* chunks(rows: readonly Row[]): Generator<readonly Row[], void> {
  for (let start = 0; start < rows.length; start += rowsAtOnce) yield rows.slice(start, start + rowsAtOnce);
}

function areMany(rows: readonly Row[]): boolean {
  let characters = 0;
  for (const row of rows) {
    if ("text" in row) characters += row.text.length;
    else if ("instruction" in row) characters += row.instruction.length + row.input.length + row.output.length;
    // A conversation is read once for each of its answers.
    else for (const { content } of row.turns) characters += (content.length * row.turns.length) / 4;
    if (characters >= fewCharacters) return true;
  }
  return false;
}

/** The rate is that of what came after the first rows: they wait for the threads to start. */
function progressOf(rows: number, progress: EncodingOptions["progress"]): (done: number) => void {
  let first: { readonly at: number; readonly done: number } | null = null;
  let last = performance.now();
  return (done) => {
    const now = performance.now();
    first ??= { at: now, done };
    if (progress === undefined || done === first.done || (now - last < millisecondsBetween && done < rows)) return;
    last = now;
    const secondsLeft = ((now - first.at) / 1000 / (done - first.done)) * (rows - done);
    progress({ done, rows, secondsLeft });
  };
}

import { parentPort, workerData } from "node:worker_threads";
import { isCodedError } from "../../errors/index.ts";
import { openCheckpoint } from "../../llama/checkpoint/index.ts";
import { encodeRow } from "./encode-row.ts";
import type { EncoderAnswer, EncoderJob, EncoderSetup } from "./encoder-threads.ts";
import { packRows } from "./packed-rows.ts";

// One of the threads that encode the rows of a training, with a tokenizer of its own: nothing of one crosses threads.
const { place, options } = workerData as EncoderSetup;
const opening = openCheckpoint(place);
// Its failure is that of the first job.
opening.catch(() => {});
/** Stays with what was encoded; the row's place is known to the one who asked. */
const source = { file: "", number: 0, unit: "record" } as const;

parentPort!.on("message", async ({ number, rows }: EncoderJob) => {
  try {
    const { tokenizer } = await opening;
    const packed = packRows(rows.map((row) => encodeRow(row, source, tokenizer, options)));
    const memory = Object.values(packed).map(({ buffer }) => buffer);
    parentPort!.postMessage({ number, packed } satisfies EncoderAnswer, memory);
  } catch (error) {
    const { message } = error as Error;
    const coded = isCodedError(error) ? { code: error.code, hint: error.hint } : null;
    parentPort!.postMessage({ number, failure: { message, coded } } satisfies EncoderAnswer);
  }
});

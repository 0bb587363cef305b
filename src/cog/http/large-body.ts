import { takeUploads, type Uploads } from "../files/uploads.ts";
import { type Envelope, type Refusal, readEnvelope } from "./envelope.ts";

/** What the thread is asked, and what it answers. */
export interface LargeBodyJob {
  readonly number: number;
  /** Of the body, in order. */
  readonly chunks: readonly ArrayBuffer[];
  /** Inputs that may hold files; null: the model is not there yet, and nobody will look at the input. */
  readonly fileFields: readonly string[] | null;
  /** For the files in the body; made if there is one. */
  readonly folder: string;
  /** Bytes of the body that are no file. */
  readonly mostText: number;
}

export interface LargeBodyAnswer {
  readonly number: number;
  readonly result: Envelope | Refusal;
  readonly uploads: Uploads;
  /** Bytes of the body that are in them. */
  readonly taken: number;
}

/** Reads a body whose size would hold up an event loop. Its files go to the disk, so that what is answered is small. */
export async function readLargeBody(job: LargeBodyJob): Promise<LargeBodyAnswer> {
  const { number, chunks, fileFields, folder, mostText } = job;
  const bytes = Buffer.concat(chunks.map((chunk) => Buffer.from(chunk)));
  const refused = (result: Refusal) => ({ number, result, uploads: {}, taken: 0 });
  const envelope = readEnvelope(bytes);
  if ("status" in envelope) return refused(envelope);
  if (fileFields === null) return { number, result: { ...envelope, input: {} }, uploads: {}, taken: bytes.length };
  const { input } = envelope;
  const isObject = typeof input === "object" && input !== null && !Array.isArray(input);
  const { uploads, taken } = isObject
    ? await takeUploads(input as Record<string, unknown>, fileFields, folder)
    : { uploads: {}, taken: 0 };
  if (bytes.length - taken > mostText) {
    const text = `the body holds more than ${mostText} bytes beside files (COG_MAX_INPUT_BYTES)`;
    return refused({ status: 413, text });
  }
  return { number, result: envelope, uploads, taken };
}

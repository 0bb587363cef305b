import { join } from "node:path";
import { parseBoundedJson } from "../../llama/bounded-json.ts";
import { readRegularFile } from "../../llama/regular-file.ts";
import { damaged } from "./refusal.ts";

/** What readers of files say of one that is missing or damaged. */
export const checkpointCodes = { missing: "TRAINING_CHECKPOINT", corrupt: "TRAINING_CHECKPOINT" } as const;

/** A file of a checkpoint. */
export interface CheckpointFile {
  readonly folder: string;
  readonly file: string;
  /** In messages. */
  readonly place: string;
}

/** @throws TRAINING_CHECKPOINT, also where there is none */
export async function checkpointBytes({ folder, file, place }: CheckpointFile, maxBytes: number): Promise<Buffer> {
  const bytes = await readRegularFile(join(folder, file), { ...checkpointCodes, name: place, maxBytes });
  if (bytes === null) throw damaged(place, "there is no such file");
  return bytes;
}

/** @throws TRAINING_CHECKPOINT */
export function parsedJson(text: string, place: string, mostValues: number): unknown {
  try {
    return parseBoundedJson(text, mostValues);
  } catch (error) {
    throw damaged(place, `is not valid JSON: ${(error as Error).message}`, error);
  }
}

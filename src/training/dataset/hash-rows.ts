import type { Hash } from "node:crypto";
import { sliced } from "../../llama/time-slices.ts";
import type { Row } from "./row.ts";

/** Adds rows to a hash, a line of JSON each, without where they come from. Throws the signal's reason. */
export async function hashRows(hash: Hash, rows: readonly Row[], signal?: AbortSignal): Promise<void> {
  const pause = sliced(signal);
  for (const { source: _, ...row } of rows) {
    hash.update(`${JSON.stringify(row)}\n`);
    await pause();
  }
}

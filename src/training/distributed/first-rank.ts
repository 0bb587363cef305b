import type { EngineTrainer, Ranks } from "../../engine/engine.ts";
import { CodedError, type ErrorCode, errorCodes, isCodedError } from "../../errors/index.ts";

interface Reason {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint?: string | undefined;
}

/** In UTF-16 units, of a message and of a hint. */
const mostText = 2000;

/**
 * Work that rank 0 does for all while the others wait for it; null on those. Collective: every rank calls it at the same
 * place of the training.
 * @throws what the work throws; on the others its code and message, DISTRIBUTED_PEER_LOST where it has no code
 */
export async function onFirstRank<T>(
  trainer: Pick<EngineTrainer, "sum">,
  { rank, size }: Pick<Ranks, "rank" | "size">,
  work: () => Promise<T>,
): Promise<T | null> {
  if (size === 1) return work();
  if (rank > 0) {
    const reason = decoded(await summed(trainer, new Uint8Array()));
    if (reason === null) return null;
    throw new CodedError(reason.code, `rank 0 has failed: ${reason.message}`, { hint: reason.hint });
  }
  let result: T;
  try {
    result = await work();
  } catch (error) {
    // Where the others have gone meanwhile, there is nobody to tell.
    await summed(trainer, encoded(error)).catch(() => {});
    throw error;
  }
  // What is done is done, whoever has gone meanwhile; a further step will miss them.
  await summed(trainer, new Uint8Array()).catch(() => {});
  return result;
}

/** Rank 0's bytes on all ranks; the others give none. The length goes first: it says how many follow, if any. */
async function summed(trainer: Pick<EngineTrainer, "sum">, bytes: Uint8Array): Promise<Uint8Array> {
  const [length] = await trainer.sum(Float64Array.of(bytes.length));
  if (length === 0) return bytes;
  const values = new Float64Array(length!);
  values.set(bytes);
  return Uint8Array.from(await trainer.sum(values));
}

function encoded(error: unknown): Uint8Array {
  const message = (error instanceof Error ? error.message : String(error)).slice(0, mostText);
  const reason: Reason = isCodedError(error)
    ? { code: error.code, message, hint: error.hint?.slice(0, mostText) }
    : { code: "DISTRIBUTED_PEER_LOST", message };
  return Buffer.from(JSON.stringify(reason));
}

function decoded(bytes: Uint8Array): Reason | null {
  if (bytes.length === 0) return null;
  const reason = JSON.parse(Buffer.from(bytes).toString()) as Reason;
  return reason.code in errorCodes ? reason : { ...reason, code: "DISTRIBUTED_PEER_LOST" };
}

import { parentPort } from "node:worker_threads";
import { isCodedError } from "../../errors/index.ts";
import { identityOf } from "./identity.ts";
import { openAdapter } from "./open.ts";
import type { ReaderAnswer, ReaderJob, ReaderRequest } from "./reader.ts";
import { weightedSum } from "./weighted-sum.ts";

// The thread that hashes, unpacks and converts adapters, so that the one that generates never waits for it.
const running = new Map<number, AbortController>();

parentPort!.on("message", (request: ReaderRequest) => {
  if (request.kind === "cancel") running.get(request.number)?.abort();
  else void answer(request);
});

async function answer(job: ReaderJob): Promise<void> {
  const controller = new AbortController();
  running.set(job.number, controller);
  try {
    const { signal } = controller;
    if (job.kind === "identity") return post({ number: job.number, value: await identityOf(job.source, signal) });
    const read = [];
    for (const { path, name, weight } of job.sources) {
      read.push({ ...(await openAdapter(path, job.model, { ...job.options, name, signal })), weight });
    }
    const adapter = weightedSum(read, job.model, job.options.mostBytes);
    // Every tensor has memory of its own, which is handed over without a copy.
    const memory = adapter.modules.flatMap(({ a, b }) => [a.buffer as ArrayBuffer, b.buffer as ArrayBuffer]);
    post({ number: job.number, value: adapter }, memory);
  } catch (error) {
    const { message } = error as Error;
    const coded = isCodedError(error) ? { code: error.code, hint: error.hint } : null;
    post({ number: job.number, failure: { message, coded, fields: { ...(error as Error) } } });
  } finally {
    running.delete(job.number);
  }
}

function post(message: ReaderAnswer, memory: ArrayBuffer[] = []): void {
  parentPort!.postMessage(message, memory);
}

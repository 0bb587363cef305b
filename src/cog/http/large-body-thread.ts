import { parentPort } from "node:worker_threads";
import { type LargeBodyJob, readLargeBody } from "./large-body.ts";

// The thread that reads large bodies, one after the other: memory for one of them is enough.
let work: Promise<void> = Promise.resolve();
parentPort!.on("message", (job: LargeBodyJob) => {
  work = work.then(async () => parentPort!.postMessage(await readLargeBody(job)));
});

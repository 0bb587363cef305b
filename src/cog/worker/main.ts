import { Socket } from "node:net";
import { Worker } from "node:worker_threads";
import { type CodedError, isCodedError } from "../../errors/index.ts";
import { removeAbandoned } from "../../temporary/abandoned.ts";
import { contexts } from "../schema/context.ts";
import { openApiDocument } from "../schema/openapi.ts";
import type { Predictor } from "../schema/predictor.ts";
import { errorText, stackText } from "./errors.ts";
import { healthcheckLimitMs, healthcheckTimedOut } from "./healthcheck.ts";
import { loadPredictor } from "./load.ts";
import { captureStandardStreams, LineBuffer } from "./logs.ts";
import { withoutSecrets } from "./outgoing.ts";
import { type FromWorker, MessageWriter, readMessages, type SetupFailure, type ToWorker } from "./protocol.ts";
import { WorkerRun } from "./run.ts";
import { Secrets } from "./secrets.ts";

// The worker process: holds the author's code, so that nothing it does can stop the server from answering.

const [beatMs, cancelGraceMs] = process.argv.slice(2).map(Number) as [number, number];
// Neither the author's options of Node nor the environment are its affair.
const heartbeat = new URL("./heartbeat-thread.js", import.meta.url);
new Worker(heartbeat, {
  workerData: beatMs,
  env: {},
  execArgv: [],
  resourceLimits: { maxOldGenerationSizeMb: 16 },
}).unref();

const socket = new Socket({ fd: 3, readable: true, writable: true });
const writer = new MessageWriter<FromWorker>(socket);
const exit = process.exit.bind(process);
const runs = new Map<number, WorkerRun>();
let predictor: Predictor | null = null;
let model: unknown;
let isSetUp = false;
let beginSetup: () => void = () => {};
const setupWanted = new Promise<void>((resolve) => {
  beginSetup = resolve;
});

const secrets = new Secrets();
const send = (message: FromWorker) => writer.send(withoutSecrets(message, secrets));
const runById = new Map<object, WorkerRun>();

/** The run whose code is executing; where the runtime lost track, the only one there is. */
function currentRun(): WorkerRun | undefined {
  const context = contexts.getStore();
  return context === undefined ? undefined : runById.get(context.signal);
}

function responsibleRun(): WorkerRun | undefined {
  return currentRun() ?? (runs.size === 1 ? [...runs.values()][0] : undefined);
}

const outside = new LineBuffer(secrets, (_source, data) => send({ type: isSetUp ? "strayLog" : "setupLog", data }));
captureStandardStreams((source, chunk) => (currentRun()?.logs ?? outside).write(source, chunk));

process.exit = ((code?: number | string): never => {
  const error = new Error(`process.exit(${code ?? ""}) was called`);
  currentRun()?.fail(error);
  throw error;
}) as typeof process.exit;

const escaped = (error: unknown) => {
  const run = responsibleRun();
  if (run !== undefined) run.fail(error);
  else if (!isSetUp) failSetup(error);
  else outside.write("stderr", `outside of any prediction: ${stackText(error) ?? errorText(error)}\n`);
};
process.on("uncaughtException", escaped);
process.on("unhandledRejection", escaped);
// The process before it may have been killed.
void removeAbandoned();
// Both go to the whole process group on Ctrl-C; the server decides when the worker stops.
process.on("SIGINT", () => {});
process.on("SIGTERM", () => {});
// The server is gone: nobody is left to work for.
socket.on("close", () => exit(1));
socket.on("error", () => exit(1));

function failSetup(error: unknown): void {
  outside.flush();
  const coded = isCodedError(error) ? partsOf(error) : null;
  send({ type: "setupFailed", error: stackText(error) ?? errorText(error), coded });
  writer.flush();
}

function partsOf({ code, message, hint }: CodedError): SetupFailure["coded"] {
  return { code, message, ...(hint === undefined ? {} : { hint }) };
}

async function start(message: Extract<ToWorker, { type: "start" }>): Promise<void> {
  const { predict, train, trainOutput, role, weights, holdSetup } = message;
  try {
    const declarations = {
      predict: predict && (await loadDeclaration(predict, "predictor", role === "predict")),
      train: train && (await loadDeclaration(train, "trainer", role === "train")),
    };
    predictor = declarations[role];
    send({
      type: "declared",
      document: openApiDocument(declarations.predict, declarations.train, trainOutput),
      concurrency: role === "train" ? 1 : predictor!.concurrency,
      healthcheck: predictor!.healthcheck !== null,
    });
    // Setup may compute for minutes without a pause.
    writer.flush();
    if (holdSetup) await setupWanted;
    model = await predictor!.setup({ weights: weights ?? undefined });
    outside.flush();
    isSetUp = true;
    send({ type: "ready" });
  } catch (error) {
    failSetup(error);
  }
}

/** The other mode's declaration is only needed for the document: where it cannot be loaded, this mode still works. */
async function loadDeclaration(
  reference: NonNullable<Extract<ToWorker, { type: "start" }>["predict"]>,
  role: Predictor["role"],
  isNeeded: boolean,
): Promise<Predictor | null> {
  try {
    return await loadPredictor(reference, role);
  } catch (error) {
    if (isNeeded) throw error;
    outside.write("stderr", `the ${role} is left out of the schema: ${errorText(error)}\n`);
    return null;
  }
}

async function checkHealth(): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  // The server waits no longer either; a check that never settles must not be the last one.
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(healthcheckTimedOut)), healthcheckLimitMs);
  });
  let error: string | null = null;
  try {
    const result = await Promise.race([predictor!.healthcheck!(model), late]);
    if (result === false) error = "healthcheck returned False";
  } catch (problem) {
    error = errorText(problem);
  }
  clearTimeout(timer);
  send({ type: "health", error });
}

async function stop(): Promise<void> {
  try {
    await predictor?.teardown?.(model);
  } catch (error) {
    outside.write("stderr", `teardown: ${stackText(error) ?? errorText(error)}\n`);
  }
  leave(0);
}

/** Ends after what was written has left. */
function leave(code: number): void {
  outside.flush();
  writer.flush();
  socket.end(() => exit(code));
}

readMessages<ToWorker>(socket, (message) => {
  switch (message.type) {
    case "start":
      void start(message);
      break;
    case "setup":
      beginSetup();
      break;
    case "run": {
      secrets.add(message);
      const run = new WorkerRun(message, { secrets, send, cancelGraceMs });
      runs.set(message.run, run);
      runById.set(run.signal, run);
      void run.execute(predictor!, model).then(() => {
        runs.delete(message.run);
        runById.delete(run.signal);
        secrets.ended(message.run);
        if (run.endsProcess) leave(1);
      });
      break;
    }
    case "cancel":
      runs.get(message.run)?.cancel();
      break;
    case "health":
      void checkHealth();
      break;
    case "stop":
      void stop();
      break;
  }
});

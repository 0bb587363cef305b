import { Failure } from "../../../terminal/failure.ts";
import { interruptible } from "../../../terminal/interrupt.ts";
import { quoted } from "../../../terminal/shell.ts";
import { print, say } from "../../../terminal/streams.ts";
import type { InputFiles } from "../input/files.ts";
import { FilesInBody } from "../input/files-in-body.ts";
import { resolveInputs } from "../input/resolve.ts";
import {
  inputSchema,
  type ModelDocument,
  offersStream,
  outputSchema,
  type Route,
  type Schema,
  trainOutput,
} from "../input/schema.ts";
import { parseJson, parsePairs } from "../input/supplied.ts";
import type { LiveLine } from "../live/live-line.ts";
import { liveLineOf } from "../live/terminal.ts";
import { parseDataUrl, type ReadAnswered } from "../output/data-url.ts";
import { deliver, writeFiles } from "../output/deliver.ts";
import { type Destination, destination, overwritten } from "../output/destination.ts";
import { indentedRecord } from "../output/json.ts";
import { writeOutput } from "../output/write.ts";
import { ModelClient, type RunAnswer, type RunBody } from "./client.ts";
import type { LocalModel, LocalServer } from "./local.ts";
import { nextCommand } from "./next-command.ts";
import { requireSuccess } from "./outcome.ts";
import { printStream } from "./print-stream.ts";
import { waitUntilReady } from "./ready.ts";
import { requireNothingToResume } from "./resume-command.ts";
import { watchedRun } from "./watched-run.ts";

export interface RunOptions {
  mode: "predict" | "train";
  /** A running server's address; undefined: the project in this folder. */
  url: string | undefined;
  /** What the server at the address asks for. */
  token: string | undefined;
  /** `-i` words */
  input: readonly string[];
  json: string | undefined;
  output: string | undefined;
  env: readonly string[];
  stream: boolean;
  useReplicateToken: boolean;
  setupTimeout: number;
  config: string | undefined;
  debug: boolean;
}

/** `cog predict` and `cog train`: check the inputs, start the model, run once, print or write what it answers. */
export async function runModel(options: RunOptions): Promise<void> {
  if (options.json !== undefined && options.input.length > 0)
    throw new Failure("Must use one of --json or --input to provide model inputs");
  if (options.stream && options.output !== undefined) throw new Failure("Must use one of --stream or --output");
  const supplied = options.json === undefined ? parsePairs(options.input) : await parseJson(options.json);
  // A run at an address needs nothing of this.
  const local = options.url === undefined ? await import("./local.ts") : undefined;
  const live = liveLineOf();
  const model = local?.localModel({ ...options, live });
  const route = options.mode === "predict" ? "/predictions" : "/trainings";
  const destined = (archiveName: string | null) => destinationOf(options, archiveName);
  // A folder that cannot be written to ends the command before the model is started.
  const known = model && destined(model.project.trainOutput);
  await interruptible(async (signal) => {
    const resolve = (document: ModelDocument | undefined, files: InputFiles) =>
      resolveInputs(supplied, inputSchema(document ?? {}, route), files);
    // An archive is written and named, never printed.
    const outputsByPath = known?.archive !== undefined;
    await withModel(model, { signal, outputsByPath }, async (own) => {
      // A wrong input ends the command before gigabytes of weights are read.
      const declared = own && (await local!.declaredBy(own.server, signal));
      const checked = declared && (await resolve(declared, own!.files));
      if (own) {
        say();
        say("Starting the model and running setup()...");
        own.server.beginSetup();
      }
      const client = own?.client ?? new ModelClient(options.url!, options.token ?? null);
      const waiting = { timeoutSeconds: options.setupTimeout, signal, remote: own === undefined };
      const { isOurs } = await waitUntilReady(client, waiting);
      const document = declared ?? (await client.document(signal));
      const input = checked ?? (await resolve(document, new FilesInBody({ isOurs })));
      const to = known ?? destined(trainOutput(document ?? {}));
      if (options.mode === "train")
        tellOverwritten(to, known === undefined && options.output === undefined && to.archive !== undefined);
      say(options.mode === "predict" ? "Running prediction..." : "Running training...");
      say();
      const answered = own?.answered ?? parseDataUrl;
      const stop = own && options.mode === "train" ? () => stopTraining(own) : null;
      await runOnce(
        client,
        document ?? {},
        { input, context: context(options) },
        // Other servers than ours have no events to follow.
        { ...options, route, to, signal, answered, stop, live: isOurs ? live : undefined },
      );
    });
  });
}

/** @throws Failure where the name is the server's: it must not choose which of the user's files is lost */
function tellOverwritten(to: Destination, isNamedByServer: boolean): void {
  const lost = overwritten(to);
  if (lost === undefined) return;
  if (isNamedByServer)
    throw new Failure(`${lost} is there already`, { hint: `Say where the result goes: -o ${quoted(lost)}` });
  say(`${lost} is there already and will be overwritten; -o gives another name`);
}

function destinationOf({ mode, output, json, stream }: RunOptions, archiveName: string | null): Destination {
  const isTraining = mode === "train";
  return destination({
    output,
    base: isTraining ? "weights" : "output",
    json: json !== undefined && !stream,
    archiveName: isTraining ? archiveName : null,
  });
}

/**
 * Gives `use` this folder's model on a server of its own, its setup still to begin, and stops it afterwards; nothing where a
 * server's address was given.
 */
async function withModel(
  model: LocalModel | undefined,
  { signal, outputsByPath }: { signal: AbortSignal; outputsByPath: boolean },
  use: (own: LocalServer | undefined) => Promise<void>,
): Promise<void> {
  if (model === undefined) return use(undefined);
  const own = await (await import("./local.ts")).startLocalServer(model, { holdSetup: true, outputsByPath });
  try {
    signal.throwIfAborted();
    await use(own);
  } finally {
    await own.close();
  }
}

interface RunPlan extends RunOptions {
  route: Route;
  to: Destination;
  signal: AbortSignal;
  answered: ReadAnswered;
  live: LiveLine | undefined;
  /** Ends the run so that it still answers; null: an abort drops the request, which cancels it. */
  stop: (() => void) | null;
}

/** A trainer may finish its step and keep it. */
function stopTraining({ server }: LocalServer): void {
  say("Stopping; a second time ends it at once");
  void server.close({ abort: true });
}

async function runOnce(client: ModelClient, document: ModelDocument, body: RunBody, plan: RunPlan): Promise<void> {
  const schema = outputSchema(document, plan.route);
  if (wantsStream(document, schema, plan)) {
    // Text that comes to the same terminal leaves no line for it.
    const live = process.stdout.isTTY ? undefined : plan.live;
    requireSuccess(await ended(printStream(client.stream(plan.route, body, plan.signal), schema, live), plan.live));
    return;
  }
  const answer = await answerOf(client, body, plan);
  if (plan.json === undefined && plan.signal.aborted) requireNothingToResume(answer, plan);
  let written: string[];
  if (plan.json !== undefined) written = await printRecord(answer, schema, plan);
  else {
    requireSuccess(answer);
    written = await deliver(answer.output, schema, plan.to, plan.answered);
  }
  if (plan.to.archive !== undefined && written.includes(plan.to.archive))
    say(nextCommand(document, plan.to.archive, plan));
}

async function answerOf(client: ModelClient, body: RunBody, plan: RunPlan): Promise<RunAnswer> {
  const { live, route, stop } = plan;
  plan.signal.throwIfAborted();
  // A run that is told to stop still answers.
  const signal = stop === null ? plan.signal : new AbortController().signal;
  if (stop !== null) plan.signal.addEventListener("abort", stop, { once: true });
  const showsLogs = plan.url !== undefined && plan.mode === "train";
  const run = live ? watchedRun(client, route, body, { signal, live, showsLogs }) : client.run(route, body, signal);
  try {
    return await ended(run, live);
  } finally {
    if (stop !== null) plan.signal.removeEventListener("abort", stop);
  }
}

/** The answer, once the live line is gone; where there is no good one, it stays to say how far the run came. */
async function ended(run: Promise<RunAnswer>, live: LiveLine | undefined): Promise<RunAnswer> {
  let hasSucceeded = false;
  try {
    const answer = await run;
    hasSucceeded = answer.status === "succeeded";
    return answer;
  } finally {
    await live?.end({ stays: !hasSucceeded });
  }
}

function wantsStream(document: ModelDocument, schema: Schema | undefined, plan: RunPlan): boolean {
  const offered = offersStream(document, plan.route);
  if (plan.stream && !offered) throw new Failure("The model offers no event stream; leave --stream out");
  const oneText = schema?.["x-cog-array-display"] === "concatenate";
  const terminal = process.stdout.isTTY && plan.output === undefined && plan.json === undefined;
  return plan.stream || (offered && oneText && terminal);
}

/** JSON mode: the whole answer, a failed run's too; files are written (the result) and stand there by their paths. */
async function printRecord(answer: RunAnswer, schema: Schema | undefined, plan: RunPlan): Promise<string[]> {
  const { to, answered: read, signal } = plan;
  const { status, error, metrics } = answer;
  const succeeded = status === "succeeded";
  const answered = answer.output ?? null;
  const files = succeeded ? await writeFiles(answered, schema, to, read) : { shown: answered, written: [] };
  const output = files.shown;
  const text = indentedRecord({ status, output, error: error ?? "", metrics: metrics ?? null });
  if (to.text === undefined) await print(`${text}\n`);
  else await writeOutput(to.text, text);
  if (signal.aborted) requireNothingToResume(answer, plan);
  if (!succeeded) throw new Failure("");
  return files.written;
}

function context({ useReplicateToken }: RunOptions): Record<string, string> {
  if (!useReplicateToken) return {};
  const token = process.env.REPLICATE_API_TOKEN;
  if (!token)
    throw new Failure(
      "Failed to find REPLICATE_API_TOKEN in the current environment when called with --use-replicate-token",
    );
  return { replicate_api_token: token };
}

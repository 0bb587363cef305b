import { Failure } from "../failure.ts";
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
} from "../input/schema.ts";
import { parseJson, parsePairs } from "../input/supplied.ts";
import { deliver, writeFiles } from "../output/deliver.ts";
import { type Destination, destination } from "../output/destination.ts";
import { indentedRecord } from "../output/json.ts";
import { writeOutput } from "../output/write.ts";
import { print, say } from "../terminal.ts";
import { ModelClient, type RunAnswer, type RunBody } from "./client.ts";
import { interruptible } from "./interrupt.ts";
import type { LocalModel, LocalServer } from "./local.ts";
import { nextCommand } from "./next-command.ts";
import { requireSuccess } from "./outcome.ts";
import { printStream } from "./print-stream.ts";
import { waitUntilReady } from "./ready.ts";

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
  const model = local?.localModel(options);
  const route = options.mode === "predict" ? "/predictions" : "/trainings";
  const to = destination({
    output: options.output,
    base: options.mode === "predict" ? "output" : "weights",
    json: options.json !== undefined && !options.stream,
    archiveName: model && options.mode === "train" ? local?.archiveName(model.project) : undefined,
  });
  await interruptible(async (signal) => {
    const resolve = (document: ModelDocument | undefined, files: InputFiles) =>
      resolveInputs(supplied, inputSchema(document ?? {}, route), files);
    await withModel(model, signal, async (own) => {
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
      say(options.mode === "predict" ? "Running prediction..." : "Running training...");
      say();
      await runOnce(client, document ?? {}, { input, context: context(options) }, { ...options, route, to, signal });
    });
  });
}

/**
 * Gives `use` this folder's model on a server of its own, its setup still to begin, and stops it afterwards; nothing where a
 * server's address was given.
 */
async function withModel(
  model: LocalModel | undefined,
  signal: AbortSignal,
  use: (own: LocalServer | undefined) => Promise<void>,
): Promise<void> {
  if (model === undefined) return use(undefined);
  const own = await (await import("./local.ts")).startLocalServer(model, { holdSetup: true });
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
}

async function runOnce(client: ModelClient, document: ModelDocument, body: RunBody, plan: RunPlan): Promise<void> {
  const schema = outputSchema(document, plan.route);
  if (wantsStream(document, schema, plan)) {
    requireSuccess(await printStream(client.stream(plan.route, body, plan.signal), schema));
    return;
  }
  const answer = await client.run(plan.route, body, plan.signal);
  if (plan.json !== undefined) return printRecord(answer, schema, plan.to);
  requireSuccess(answer);
  const written = await deliver(answer.output, schema, plan.to);
  if (plan.to.archive !== undefined && written.length > 0) say(nextCommand(document, plan.to.archive));
}

function wantsStream(document: ModelDocument, schema: Schema | undefined, plan: RunPlan): boolean {
  const offered = offersStream(document, plan.route);
  if (plan.stream && !offered) throw new Failure("The model offers no event stream; leave --stream out");
  const oneText = schema?.["x-cog-array-display"] === "concatenate";
  const terminal = process.stdout.isTTY && plan.output === undefined && plan.json === undefined;
  return plan.stream || (offered && oneText && terminal);
}

/** JSON mode: the whole answer, a failed run's too; files are written and stand there by their paths. */
async function printRecord(answer: RunAnswer, schema: Schema | undefined, to: Destination): Promise<void> {
  const succeeded = answer.status === "succeeded";
  const output = succeeded ? (await writeFiles(answer.output ?? null, schema, to)).shown : (answer.output ?? null);
  const { status, error, metrics } = answer;
  const text = indentedRecord({ status, output, error: error ?? "", metrics: metrics ?? null });
  if (to.text === undefined) await print(`${text}\n`);
  else await writeOutput(to.text, text);
  if (!succeeded) throw new Failure("");
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

import type { IncomingMessage, ServerResponse } from "node:http";
import type { Log, LogFields } from "../log.ts";
import type { CheckedInput } from "../prediction/input-schema.ts";
import { logFieldsOf } from "../prediction/log-fields.ts";
import type { Predictions } from "../prediction/predictions.ts";
import type { Run } from "../prediction/run.ts";
import type { Family } from "../prediction/run-options.ts";
import { sendJson, sendJsonText, sendText } from "./answer.ts";
import { type Bodies, type Body, discard } from "./bodies.ts";
import { contentKind, emptyEnvelope } from "./envelope.ts";
import { type Mode, modeOf, traceHeaders } from "./requested.ts";
import { answerWithStream } from "./stream.ts";
import type { UntakenAnswers } from "./untaken-answers.ts";
import { dropBody } from "./unwanted-body.ts";

type ValidInput = Extract<CheckedInput, { readonly input: unknown }>;

interface CreateOptions {
  readonly predictions: Predictions;
  readonly log: Log;
  readonly bodies: Bodies;
  readonly answers: UntakenAnswers;
}

/** POST and PUT of predictions and trainings: the checks in Cog's order, then the run, answered as the client asked. */
export class CreateHandler {
  readonly #predictions: Predictions;
  readonly #log: Log;
  readonly #bodies: Bodies;
  readonly #answers: UntakenAnswers;

  constructor({ predictions, log, bodies, answers }: CreateOptions) {
    this.#predictions = predictions;
    this.#log = log;
    this.#bodies = bodies;
    this.#answers = answers;
  }

  /** `pathId` is the decoded id of a PUT, null for a POST. */
  async handle(req: IncomingMessage, res: ServerResponse, family: Family, pathId: string | null): Promise<void> {
    const kind = contentKind(req);
    if (kind !== "json") dropBody(req, res);
    if (kind === "other") {
      sendText(res, 415, "the content type must be application/json");
      return;
    }
    const fileFields = this.#predictions.schema(family)?.fileNames ?? null;
    const body = kind === "none" ? nothing : await this.#bodies.read(req, fileFields);
    if ("status" in body) {
      // What is still to come is not waited for.
      if (body.status === 503) res.setHeader("retry-after", 1).setHeader("connection", "close");
      dropBody(req, res);
      sendText(res, body.status, body.text);
      return;
    }
    if (!this.#create(req, res, family, pathId, body)) await discard(body);
  }

  /** Answers. False where no run was made, so that nobody has taken the files of the body. */
  #create(req: IncomingMessage, res: ServerResponse, family: Family, pathId: string | null, body: Body): boolean {
    const { envelope, size, files } = body;
    const mode = modeOf(req);
    if (pathId !== null) {
      if (envelope.id !== null && envelope.id !== pathId) {
        sendJson(res, 422, { detail: [idMismatch(family)] });
        return false;
      }
      if (mode === "stream" && family === "trainings") {
        refuseTrainingStream(res);
        return false;
      }
      const running = this.#predictions.find(pathId);
      if (running !== undefined) {
        this.#attach(res, running, mode);
        return false;
      }
    }
    if (mode === "stream" && family === "trainings") {
      refuseTrainingStream(res);
      return false;
    }
    if (mode === "stream" && !this.#predictions.streams) {
      sendJson(res, 406, { error: "this model does not support streaming" });
      return false;
    }
    if (family === "trainings" && !this.#predictions.hasTrainer) {
      sendJson(res, 404, { error: "this project has no train function" });
      return false;
    }
    const checked = this.#checkedInput(res, family, envelope.input);
    if (checked === null) return false;
    const headers = traceHeaders(req);
    const run = this.#predictions.create(family, {
      id: pathId ?? envelope.id,
      input: checked.input,
      size,
      files: files && { ...files, uploads: this.#predictions.schema(family)?.ownPlaces(files.uploads) ?? {} },
      context: envelope.context,
      webhook: envelope.webhook,
      webhookEvents: envelope.webhookEvents,
      traceHeaders: headers,
    });
    if (run === "notReady") {
      sendJson(res, 503, { error: notReady, status: "failed" });
      return false;
    }
    if (run === "busy") {
      sendJson(res, 409, { error: atCapacity, status: "failed" });
      return false;
    }
    if (run === "queueFull") {
      res.setHeader("retry-after", this.#predictions.retryAfter);
      sendJson(res, 429, { error: "All slots are in use and the queue is full", status: "failed" });
      return false;
    }
    if (checked.unknown.length > 0) this.#warnOfUnknown(checked.unknown, logFieldsOf(run.id, headers.traceparent));
    this.#answer(res, run, mode);
    return true;
  }

  #checkedInput(res: ServerResponse, family: Family, given: unknown): ValidInput | null {
    const schema = this.#predictions.schema(family);
    // Without a schema there is no worker either: the request ends at the check of readiness.
    if (schema === null) return { input: {}, unknown: [] };
    const checked = schema.check(given);
    if ("problems" in checked) {
      sendJson(res, 422, { detail: checked.problems });
      return null;
    }
    return checked;
  }

  /** Cog's clients know the answer and the run's logs without it: only the server's log tells. */
  #warnOfUnknown(unknown: readonly string[], fields: LogFields): void {
    const names = unknown.slice(0, 10).map((name) => JSON.stringify(name.slice(0, 80)));
    const more = unknown.length > names.length ? ` and ${unknown.length - names.length} more` : "";
    this.#log.warn(`unknown inputs are ignored: ${names.join(", ")}${more}`, fields);
  }

  #answer(res: ServerResponse, run: Run, mode: Mode): void {
    if (mode === "async") {
      sendJson(res, 202, { id: run.id, status: "starting" });
      return;
    }
    if (mode === "stream") {
      this.#stream(res, run, true);
      return;
    }
    res.on("close", () => {
      if (!res.writableFinished) run.cancel();
    });
    run.onceOver(() => sendJsonText(res, 200, run.record.answer()));
  }

  /** PUT of a run that is in flight: never starts work, never waits. */
  #attach(res: ServerResponse, run: Run, mode: Mode): void {
    if (mode !== "stream") {
      sendJsonText(res, 202, run.view());
      return;
    }
    if (run.stream === null || run.family === "trainings") {
      sendJson(res, 406, { error: "this model does not support streaming" });
      return;
    }
    this.#stream(res, run, false);
  }

  #stream(res: ServerResponse, run: Run, isCreator: boolean): void {
    const stream = run.stream!;
    if (isCreator) stream.isTiedToClients = true;
    const isTaken = answerWithStream(res, stream, {
      onLeave: () => run.listenerLeft(),
      answers: this.#answers,
    });
    if (!isTaken) sendJson(res, 429, { error: "too many clients listen to this run" });
  }
}

const nothing: Body = { envelope: emptyEnvelope, size: 0, files: null };
const notReady = "Setup has not finished yet, or has failed: see GET /health-check";
const atCapacity = "All slots are in use: the server is at capacity";

function refuseTrainingStream(res: ServerResponse): void {
  sendJson(res, 406, { error: "trainings do not support streaming" });
}

function idMismatch(family: Family): object {
  const what = family === "predictions" ? "prediction" : "training";
  return {
    loc: ["body", "id"],
    msg: `the ${what} ID must match the ID supplied in the URL`,
    type: "value_error",
  };
}

import type { IncomingMessage, ServerResponse } from "node:http";
import type { Predictions } from "../prediction/predictions.ts";
import { sendJson, sendJsonText } from "./answer.ts";
import { answerWithStream, streamHeaders } from "./stream.ts";
import type { UntakenAnswers } from "./untaken-answers.ts";

/** GET of runs by their id, in flight or over since less than ten minutes; our addition to Cog's routes. */
export class ReadHandler {
  readonly #predictions: Predictions;
  readonly #answers: UntakenAnswers;

  constructor({ predictions, answers }: { predictions: Predictions; answers: UntakenAnswers }) {
    this.#predictions = predictions;
    this.#answers = answers;
  }

  answer(res: ServerResponse, id: string): void {
    const view = this.#predictions.find(id)?.view() ?? this.#predictions.findFinished(id)?.view;
    if (view === undefined) sendJson(res, 404, { error: unknown });
    else sendJsonText(res, 200, view);
  }

  /** The events from the first, or from the one after `Last-Event-ID`. */
  stream(req: IncomingMessage, res: ServerResponse, id: string): void {
    const running = this.#predictions.find(id);
    const run = running ?? this.#predictions.findFinished(id);
    if (run === undefined) {
      sendJson(res, 404, { error: unknown });
      return;
    }
    if (run.stream === null) {
      sendJson(res, 406, { error: "this model does not support streaming" });
      return;
    }
    if (req.method === "HEAD") {
      res.writeHead(200, streamHeaders).end();
      return;
    }
    const isTaken = answerWithStream(res, run.stream, {
      onLeave: () => running?.listenerLeft(),
      answers: this.#answers,
      subscription: { isNumbered: true, after: lastEvent(req) },
    });
    if (!isTaken) sendJson(res, 429, { error: "too many clients listen to this run" });
  }
}

const unknown = "there is no such run, or it ended too long ago";

/** A number that is none of ours starts at the beginning. */
function lastEvent(req: IncomingMessage): number {
  const text = req.headers["last-event-id"];
  return typeof text === "string" && /^\d{1,15}$/.test(text) ? Number(text) : 0;
}

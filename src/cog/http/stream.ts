import type { ServerResponse } from "node:http";
import { type EventStream, eventText, type Subscription } from "../prediction/event-stream.ts";
import { bytesIfLong } from "./answer.ts";
import type { UntakenAnswers } from "./untaken-answers.ts";

export const streamHeaders = { "content-type": "text/event-stream", "cache-control": "no-cache" };
const keepAliveMs = 15_000;
/** A client for whom more than this waits, in UTF-16 units, is cut off. */
const mostLag = 8 * 1024 * 1024;

interface StreamOptions {
  /** Called when the client goes, or is cut off, before the end. */
  readonly onLeave: () => void;
  readonly answers: UntakenAnswers;
  readonly subscription?: Subscription;
}

/** Answers with a run's server-sent events. Returns false, with nothing sent, when the run has too many listeners. */
export function answerWithStream(
  res: ServerResponse,
  stream: EventStream,
  { onLeave, answers, subscription }: StreamOptions,
): boolean {
  let waiting = "";
  let isScheduled = false;
  let isComplete = false;
  let isGone = false;

  const leave = () => {
    if (isGone) return;
    isGone = true;
    clearInterval(keepAlive);
    stream.unsubscribe(subscriber);
    if (!isComplete) onLeave();
  };
  const flush = () => {
    isScheduled = false;
    if (isGone || res.writableNeedDrain || (waiting === "" && !isComplete)) return;
    keepAlive.refresh();
    res.write(bytesIfLong(waiting));
    waiting = "";
    answers.written(res);
    if (!isComplete) return;
    leave();
    res.end();
  };
  const subscriber = (text: string, last: boolean) => {
    if (isGone || isComplete) return;
    if (waiting.length > mostLag && res.writableNeedDrain) {
      res.end(eventText("error", { error: "the client is too slow" }));
      leave();
      return;
    }
    waiting += text;
    isComplete = last;
    if (isScheduled) return;
    // What arrives in one turn leaves in one write.
    isScheduled = true;
    process.nextTick(flush);
  };
  const keepAlive = setInterval(() => {
    if (!res.writableNeedDrain) res.write(": keep-alive\n\n");
  }, keepAliveMs);

  if (!stream.subscribe(subscriber, subscription)) {
    clearInterval(keepAlive);
    return false;
  }
  res.writeHead(200, streamHeaders);
  res.flushHeaders();
  res.setTimeout(answers.timeoutMs, () => {
    // A stream may be silent for longer; a client that does not take what was sent may not.
    if (res.writableLength > 0) res.destroy();
  });
  res.on("drain", flush);
  res.on("close", leave);
  return true;
}

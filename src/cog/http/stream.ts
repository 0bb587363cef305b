import type { ServerResponse } from "node:http";
import { type EventStream, eventText } from "../prediction/eventStream.ts";

const keepAliveMs = 15_000;
/** A client that is further behind than this is cut off. */
const mostLag = 1024;

/**
 * Answers with a run's server-sent events. Returns false, with nothing sent, when the run has too many listeners.
 * `onLeave` is called when the client goes before the end.
 */
export function answerWithStream(res: ServerResponse, stream: EventStream, onLeave: () => void): boolean {
  let isOver = false;
  let hasHead = false;
  const waiting: { text: string; last: boolean }[] = [];
  const head = () => {
    if (hasHead) return;
    hasHead = true;
    res.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
    res.flushHeaders();
  };

  const end = () => {
    isOver = true;
    clearInterval(keepAlive);
    stream.unsubscribe(subscriber);
    res.end();
  };
  const write = (text: string, last: boolean) => {
    // What arrives in one turn leaves in one packet.
    if (res.writableCorked === 0) {
      res.cork();
      process.nextTick(() => res.uncork());
    }
    res.write(text);
    keepAlive.refresh();
    if (last) end();
  };
  const subscriber = (text: string, last: boolean) => {
    if (isOver) return;
    head();
    if (waiting.length === 0 && !res.writableNeedDrain) write(text, last);
    else if (waiting.length < mostLag) waiting.push({ text, last });
    else write(eventText("error", { error: "the client is too slow", skipped: waiting.length + 1 }), true);
  };
  const keepAlive = setInterval(() => {
    if (!res.writableNeedDrain) res.write(": keep-alive\n\n");
  }, keepAliveMs);

  res.on("drain", () => {
    while (waiting.length > 0 && !res.writableNeedDrain && !isOver) {
      const { text, last } = waiting.shift()!;
      write(text, last);
    }
  });
  res.on("close", () => {
    clearInterval(keepAlive);
    if (isOver) return;
    isOver = true;
    stream.unsubscribe(subscriber);
    onLeave();
  });
  if (!stream.subscribe(subscriber)) {
    clearInterval(keepAlive);
    isOver = true;
    return false;
  }
  head();
  return true;
}

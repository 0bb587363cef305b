import { connect, type Socket } from "node:net";

export interface Load {
  readonly requestsPerSecond: number;
  /** Milliseconds from a request's last byte sent to its answer's last byte. */
  readonly medianMs: number;
  readonly p99Ms: number;
  readonly requests: number;
  /** Answers other than 200: a server with one slot refuses what comes too early. */
  readonly refused: number;
}

export interface Target {
  readonly port: number;
  readonly path: string;
  readonly body: string;
  readonly accept?: string;
}

function requestOf({ port, path, body, accept }: Target): Buffer {
  return Buffer.from(
    `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Type: application/json\r\n` +
      `${accept === undefined ? "" : `Accept: ${accept}\r\n`}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

/** Sends the same request again and again on `connections` kept-alive sockets, one at a time on each. */
export async function load(target: Target, connections: number, seconds: number): Promise<Load> {
  const request = requestOf(target);
  const times: number[] = [];
  let refused = 0;
  const started = performance.now();
  const end = started + seconds * 1000;
  const one = async () => {
    const socket = await open(target.port);
    await new Promise<void>((resolve, reject) => {
      let sentAt = performance.now();
      let text = "";
      socket.on("error", reject);
      socket.on("close", () => reject(new Error("the server closed the connection")));
      socket.on("data", (piece: string) => {
        text += piece;
        const length = wholeAnswer(text);
        if (length === null) return;
        const now = performance.now();
        if (text.startsWith("HTTP/1.1 200")) times.push(now - sentAt);
        else refused += 1;
        text = text.slice(length);
        if (now >= end) return resolve();
        sentAt = now;
        socket.write(request);
      });
      socket.write(request);
    });
    socket.removeAllListeners("close");
    socket.destroy();
  };
  await Promise.all(Array.from({ length: connections }, one));
  const took = (performance.now() - started) / 1000;
  times.sort((a, b) => a - b);
  const at = (share: number) => times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? Number.NaN;
  return {
    requestsPerSecond: times.length / took,
    medianMs: at(0.5),
    p99Ms: at(0.99),
    requests: times.length,
    refused,
  };
}

/** Microseconds between the first and the last event of a stream, per event; what comes before the first is not counted. */
export async function streamed(target: Target, count: number): Promise<number> {
  const socket = await open(target.port);
  const request = requestOf({ ...target, accept: "text/event-stream" });
  const { first, last } = await new Promise<{ first: number; last: number }>((resolve, reject) => {
    let first = 0;
    let tail = "";
    socket.on("error", reject);
    socket.on("data", (piece: string) => {
      tail = tail.slice(-200) + piece;
      if (first === 0 && tail.includes("event: output")) first = performance.now();
      if (tail.includes("event: completed")) resolve({ first, last: performance.now() });
    });
    socket.write(request);
  });
  socket.destroy();
  return ((last - first) * 1000) / count;
}

async function open(port: number): Promise<Socket> {
  const socket = connect({ port, host: "127.0.0.1", noDelay: true });
  // The bodies are ASCII: one character, one byte.
  socket.setEncoding("latin1");
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("error", reject);
  });
  return socket;
}

/** The length of the first answer, when all of it is there. */
function wholeAnswer(text: string): number | null {
  const headers = text.indexOf("\r\n\r\n");
  if (headers < 0) return null;
  const length = /content-length: (\d+)/i.exec(text.slice(0, headers))?.[1];
  if (length === undefined) throw new Error(`an answer without a length: ${text.slice(0, 200)}`);
  const whole = headers + 4 + Number(length);
  return text.length < whole ? null : whole;
}

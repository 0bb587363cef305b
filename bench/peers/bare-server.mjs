// The least that can answer a prediction: `node:http`, JSON in, JSON or an event stream out, nothing checked or kept.
//   bare-server.mjs PORT          the work is done in this process
//   bare-server.mjs PORT worker   in a process of its own behind a Unix socket: the floor for a server that isolates its model
import { spawn } from "node:child_process";
import { createServer } from "node:http";
import { Socket } from "node:net";
import { fileURLToPath } from "node:url";

const [mode, kind] = process.argv.slice(2);

/** The predictor: a generator where a number of chunks is asked for, else one text. */
async function work({ count }, chunk, end) {
  if (count !== undefined) for await (const text of chunks(count)) chunk(text);
  end(count === undefined ? "ok" : null);
}

async function* chunks(count) {
  for (let i = 0; i < count; i++) yield "token";
}

function readLines(socket, receive) {
  let rest = "";
  socket.setEncoding("utf8").on("data", (text) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop();
    for (const line of lines) receive(JSON.parse(line));
  });
}

if (mode === "child") {
  const socket = new Socket({ fd: 3, readable: true, writable: true });
  const send = (message) => socket.write(`${JSON.stringify(message)}\n`);
  readLines(socket, ({ run, input }) => {
    void work(
      input,
      (text) => send({ run, chunk: text }),
      (output) => send({ run, output }),
    );
  });
  socket.on("close", () => process.exit());
} else {
  const run = kind === "worker" ? inWorker() : work;
  createServer((req, res) => {
    let body = "";
    req.setEncoding("utf8").on("data", (text) => {
      body += text;
    });
    req.on("end", () => {
      const { input } = JSON.parse(body);
      const isStream = req.headers.accept === "text/event-stream";
      if (isStream) res.writeHead(200, { "content-type": "text/event-stream" });
      let index = 0;
      void run(
        input,
        (text) => res.write(`event: output\ndata: ${JSON.stringify({ chunk: text, index: index++ })}\n\n`),
        (output) => {
          if (isStream) return res.end('event: completed\ndata: {"status":"succeeded"}\n\n');
          const answer = JSON.stringify({ id: "pred_1", status: "succeeded", output, logs: "", metrics: {} });
          res.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(answer) });
          res.end(answer);
        },
      );
    });
  }).listen(Number(mode), "127.0.0.1");
}

function inWorker() {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), "child"], {
    stdio: ["ignore", 2, 2, "pipe"],
  });
  const socket = child.stdio[3];
  const runs = new Map();
  let count = 0;
  readLines(socket, ({ run, chunk, output }) => {
    const { onChunk, onEnd } = runs.get(run);
    if (chunk !== undefined) return onChunk(chunk);
    runs.delete(run);
    onEnd(output);
  });
  return (input, onChunk, onEnd) => {
    count += 1;
    runs.set(count, { onChunk, onEnd });
    socket.write(`${JSON.stringify({ run: count, input })}\n`);
  };
}

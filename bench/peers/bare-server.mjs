// The floor that bench/cog.ts measures against: node:http and nothing else. POST /predictions answers a constant, or with
// `Accept: text/event-stream` as many events as `count` says. With --split the answers come from a process of their own
// behind a Unix socket, as every server with the model outside must do it.
import { fork } from "node:child_process";
import { rmSync } from "node:fs";
import { createServer } from "node:http";
import { connect, createServer as createSocketServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const mode = process.argv[2];
if (mode === "--worker") worker(process.argv[3]);
else await serve(mode === "--split");

async function* pieces(count) {
  for (let i = 0; i < count; i++) yield `piece ${i}`;
}

const result = (input) => ({
  status: "succeeded",
  output: input.text ?? "",
  metrics: { predict_time: 0.001 },
  logs: "",
});

/** Lines of JSON: {id, input, isStream} in, {id, piece} and {id, result} out. */
function worker(path) {
  createSocketServer((socket) => {
    readLines(socket, async ({ id, input, isStream }) => {
      if (isStream) for await (const piece of pieces(input.count)) socket.write(`${JSON.stringify({ id, piece })}\n`);
      socket.write(`${JSON.stringify({ id, result: result(input) })}\n`);
    });
  }).listen(path, () => process.send("ready"));
  process.on("disconnect", () => process.exit());
}

function readLines(socket, take) {
  let rest = "";
  socket.setEncoding("utf8").on("data", (text) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop();
    for (const line of lines) take(JSON.parse(line));
  });
}

async function serve(isSplit) {
  const run = isSplit ? await splitRunner() : localRunner;
  const server = createServer((req, res) => {
    const chunks = [];
    req.on("data", (chunk) => chunks.push(chunk));
    req.on("end", () => {
      const { input } = JSON.parse(Buffer.concat(chunks));
      const isStream = req.headers.accept === "text/event-stream";
      if (isStream) res.writeHead(200, { "content-type": "text/event-stream" });
      const onPiece = (piece) => res.write(`event: output\ndata: ${JSON.stringify({ chunk: piece })}\n\n`);
      run(input, isStream ? onPiece : null, (answer) => {
        const text = JSON.stringify(answer);
        if (isStream) res.end(`event: completed\ndata: ${text}\n\n`);
        else {
          res.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(text) });
          res.end(text);
        }
      });
    });
  });
  server.listen(Number(process.env.PORT), "127.0.0.1");
}

async function localRunner(input, onPiece, onEnd) {
  if (onPiece !== null) for await (const piece of pieces(input.count)) onPiece(piece);
  onEnd(result(input));
}

async function splitRunner() {
  const path = join(tmpdir(), `bare-${process.pid}.sock`);
  const child = fork(new URL(import.meta.url), ["--worker", path]);
  await new Promise((resolve) => child.once("message", resolve));
  const socket = connect(path);
  await new Promise((resolve) => socket.once("connect", resolve));
  rmSync(path);
  const open = new Map();
  let last = 0;
  readLines(socket, ({ id, piece, result }) => {
    const { onPiece, onEnd } = open.get(id);
    if (result === undefined) onPiece(piece);
    else {
      open.delete(id);
      onEnd(result);
    }
  });
  return (input, onPiece, onEnd) => {
    last += 1;
    open.set(last, { onPiece, onEnd });
    socket.write(`${JSON.stringify({ id: last, input, isStream: onPiece !== null })}\n`);
  };
}

// npm run bench:event-loop: delay of the event loop of the server process and of the worker processes while weights load, 50,000 rows are parsed and
// tokenised, an adapter trains and text is generated; beside an idle process of the same run. Milliseconds, JSON.
//   --rows N (50000)  --seconds N of training and generating after tokenising (30)  --out FILE
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { freePort } from "../scripts/free-port.mjs";
import { provenance } from "./provenance.ts";

const root = join(import.meta.dirname, "..");
const { values: options } = parseArgs({
  options: {
    rows: { type: "string", default: "50000" },
    seconds: { type: "string", default: "30" },
    out: { type: "string", default: join(root, "build", "bench", "event-loop.json") },
  },
});
const folder = mkdtempSync(join(tmpdir(), "event-loop-"));
const probe = ["--import", join(root, "bench", "event-loop-probe.mjs")];
const env = { ...process.env, EVENT_LOOP_PROBE_DIR: folder, NODE_OPTIONS: probe.join(" "), LOG_FORMAT: "console" };

function dataset(rows: number): string {
  const text = JSON.stringify(
    Array.from({ length: rows }, (_, i) => ({
      instruction: `What is the name of animal number ${i}?`,
      input: i % 3 === 0 ? `It lives in country ${i % 97}.` : "",
      output: `Animal number ${i} is called alpaca ${(i * 7919) % 10007}. It is a large, calm animal.`,
    })),
  );
  return `data:application/json;name=rows.json;base64,${Buffer.from(text).toString("base64")}`;
}

async function post(path: string, input: object, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`${url}${path}`, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers },
    body: JSON.stringify({ id: path === "/trainings" ? "bench" : undefined, input }),
  });
}

const measuredOn = provenance();
const port = await freePort();
const url = `http://127.0.0.1:${port}`;
const idle: ChildProcess = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000) // idle"], { env });
const server = spawn(
  process.execPath,
  [join(root, "scripts", "cog.mjs"), "serve", "--host", "127.0.0.1", "-p", String(port)],
  { cwd: root, env, stdio: ["ignore", "ignore", "pipe"] },
);
let log = "";
server.stderr.on("data", (text) => {
  log += text;
});

const health = async (): Promise<string> =>
  fetch(`${url}/health-check`).then(
    async (answer) => ((await answer.json()) as { status: string }).status,
    () => "",
  );
while ((await health()) !== "READY") await sleep(100);

const settings = { num_epochs: 1, batch_size: 128, val_set_size: 0 };
const accepted = await post(
  "/trainings",
  { dataset: dataset(Number(options.rows)), ...settings },
  { Prefer: "respond-async" },
);
if (accepted.status !== 202) throw new Error(`POST /trainings answered ${accepted.status}: ${await accepted.text()}`);

// Predictions go on from the first moment, so that parsing and tokenising happen beside them.
const stepping = /step +\d+/;
let generated = 0;
let end = Number.POSITIVE_INFINITY;
const started = performance.now();
while (performance.now() < end) {
  const answer = await post("/predictions", { prompt: "Tell me something about alpacas.", max_new_tokens: 64 });
  await answer.text();
  generated++;
  if (end === Number.POSITIVE_INFINITY && stepping.test(log)) end = performance.now() + Number(options.seconds) * 1000;
  if (performance.now() - started > 600_000)
    throw new Error(`no training step within ten minutes:\n${log.slice(-2000)}`);
}
await fetch(`${url}/trainings/bench/cancel`, { method: "POST" });
await sleep(1000);

interface Figures {
  pid: number;
  startedAt: number;
  samples: number;
  p50: number;
  p99: number;
  p999: number;
  max: number;
}
const processes = readdirSync(folder)
  .filter((name) => name.endsWith(".json"))
  .map((name) => JSON.parse(readFileSync(join(folder, name), "utf8")) as Figures);
server.kill("SIGTERM");
idle.kill();
await new Promise((resolve) => server.once("exit", resolve));
rmSync(folder, { recursive: true });

// The server starts the worker that predicts; that which trains comes with the first training.
const workers = ["worker that predicts", "worker that trains"];
const role = (pid: number): string =>
  pid === idle.pid ? "idle process" : pid === server.pid ? "server" : (workers.shift() ?? "another");
const figures = processes
  .toSorted((a, b) => a.startedAt - b.startedAt)
  .map(({ pid, startedAt, ...delays }) => ({ role: role(pid), ...delays }));
console.table(figures);
mkdirSync(dirname(options.out), { recursive: true });
writeFileSync(
  options.out,
  `${JSON.stringify(
    {
      what: "event-loop delay in milliseconds (timer resolution 1 ms) while weights load, a data set is parsed and tokenised, an adapter trains and text is generated, all beside an idle process",
      rows: Number(options.rows),
      predictions: generated,
      ...measuredOn,
      processes: figures,
    },
    null,
    2,
  )}\n`,
);
console.log(`written: ${options.out}`);

// npm run bench:cog: requests a second and time per streamed chunk of our server with everything switched on, of a bare
// `node:http` server, of the same with its work in another process (the floor), and of a real Cog server, taken in turns.
//   --python PATH (of an environment with the package cog; without it Cog is left out)  --seconds N (3)  --rounds N (5)
//   --out FILE (bench/results/cog.json)
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus, loadavg, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { freePort } from "../scripts/free-port.mjs";
import { startServerProcess } from "../test/cog/server-process.ts";
import { type Load, load, wrkVersion } from "./cog/wrk.ts";
import { startCogServer } from "./record/cog-server.ts";

const root = join(import.meta.dirname, "..");
const { values: options } = parseArgs({
  options: {
    python: { type: "string", default: process.env.COG_PYTHON ?? "" },
    seconds: { type: "string", default: "3" },
    rounds: { type: "string", default: "5" },
    out: { type: "string", default: join(root, "bench", "results", "cog.json") },
  },
});
const seconds = Number(options.seconds);
const rounds = Number(options.rounds);
const chunks = 1000;
const token = "t0ken";
const dir = join(root, "bench", "cog");
/** More than there are connections: a real Cog server frees a slot some time after its answer, and refuses meanwhile. */
const slots = "128";

interface Peer {
  readonly plain: string;
  readonly stream: string;
  readonly token?: string;
  stop(): Promise<unknown>;
}

/** Queue, token, JSON log and webhook limits on: what an operator may switch on is paid for here. */
const everything = {
  LOG_FORMAT: null,
  COG_QUEUE_LENGTH: "100",
  COG_AUTH_TOKEN: token,
  COG_ALLOW_PRIVATE_NETWORK: null,
  WEBHOOK_ALLOWED_ORIGINS: "https://example.com",
};

async function ours(): Promise<Peer> {
  const plain = await startServerProcess({ dir, env: { ...everything, COG_MAX_CONCURRENCY: slots } });
  const stream = await startServerProcess({ dir, env: { ...everything, COG_PREDICT_TYPE_STUB: "stream.ts" } });
  await Promise.all([plain.until("READY"), stream.until("READY")]);
  return { plain: plain.url, stream: stream.url, token, stop: () => Promise.all([plain.kill(), stream.kill()]) };
}

async function bare(...words: string[]): Promise<Peer> {
  const port = await freePort();
  const child = spawn(process.execPath, [join(root, "bench", "peers", "bare-server.mjs"), String(port), ...words]);
  const url = `http://127.0.0.1:${port}`;
  while (!(await fetch(url, { method: "POST", body: '{"input":{}}' }).catch(() => null))) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return { plain: url, stream: url, stop: async () => child.kill() };
}

async function cog(): Promise<Peer> {
  const start = async (name: string, env: Record<string, string>) => {
    const stub = { ...process.env, COG_PREDICT_TYPE_STUB: `${name}.ts` };
    const document = execFileSync(process.execPath, [join(root, "scripts", "cog.mjs"), "schema"], {
      cwd: dir,
      env: stub,
    });
    const server = await startCogServer({
      python: options.python,
      program: join(dir, `${name}.py`),
      document: JSON.parse(document.toString()) as object,
      env: { LOG_FORMAT: null, ...env },
    });
    await server.until("READY");
    return server;
  };
  const plain = await start("predict", { COG_MAX_CONCURRENCY: slots });
  const stream = await start("stream", {});
  return { plain: plain.url, stream: stream.url, stop: () => Promise.all([plain.kill(), stream.kill()]) };
}

const starters: Record<string, () => Promise<Peer>> = {
  ours,
  bare: () => bare(),
  bareWithProcess: () => bare("worker"),
  ...(options.python ? { cog } : {}),
};

interface Round {
  readonly one: number;
  readonly oneMs: number;
  readonly eight: number;
  readonly eightMs: number;
  readonly chunkMicroseconds: number;
  readonly oneRefused: number;
  readonly eightRefused: number;
}

async function measure(peer: Peer): Promise<Round> {
  const plain: Omit<Load, "connections"> = { url: peer.plain, body: { input: {} }, seconds, token: peer.token };
  const one = await load({ ...plain, connections: 1 });
  const eight = await load({ ...plain, connections: 8 });
  const stream = await load({
    ...plain,
    url: peer.stream,
    connections: 1,
    body: { input: { count: chunks } },
    accept: "text/event-stream",
  });
  return {
    one: one.perSecond,
    oneMs: one.meanMs,
    eight: eight.perSecond,
    eightMs: eight.meanMs,
    chunkMicroseconds: 1e6 / (stream.perSecond * chunks),
    oneRefused: one.refused,
    eightRefused: eight.refused,
  };
}

const wrk = await wrkVersion();
const loadBefore = loadavg()[0]!;
const peers = new Map<string, Peer>();
const results = new Map<string, Round[]>();
try {
  for (const [name, start] of Object.entries(starters)) peers.set(name, await start());
  for (let round = 0; round <= rounds; round++) {
    for (const [name, peer] of peers) {
      const measured = await measure(peer);
      // The first one warms up.
      if (round > 0) results.set(name, [...(results.get(name) ?? []), measured]);
      console.log(round, name, JSON.stringify(measured));
    }
  }
} finally {
  for (const peer of peers.values()) await peer.stop();
}

function median(numbers: number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)]!;
}
const rounded = (value: number, digits = 0) => Number(value.toFixed(digits));

const summary = Object.fromEntries(
  [...results].map(([name, measured]) => {
    const all = (key: keyof Round) => measured.map((each) => each[key]);
    const of = (key: keyof Round) => median(all(key));
    const spread = (key: keyof Round, digits = 0) =>
      [Math.min(...all(key)), Math.max(...all(key))].map((value) => rounded(value, digits));
    return [
      name,
      {
        requestsPerSecond: { oneConnection: rounded(of("one")), eightConnections: rounded(of("eight")) },
        meanMilliseconds: { oneConnection: rounded(of("oneMs"), 3), eightConnections: rounded(of("eightMs"), 3) },
        microsecondsPerChunk: rounded(of("chunkMicroseconds"), 1),
        // Rounds that lie far apart were disturbed by what else the machine did.
        leastAndMost: {
          oneConnection: spread("one"),
          eightConnections: spread("eight"),
          microsecondsPerChunk: spread("chunkMicroseconds", 1),
        },
        refusedShare: { oneConnection: rounded(of("oneRefused"), 4), eightConnections: rounded(of("eightRefused"), 4) },
      },
    ];
  }),
);
/** Each round's own ratio, so that what else the machine did meanwhile counts for both. */
const against = (peer: string) => {
  const pairs = results.get("ours")!.map((each, index) => [each, results.get(peer)![index]!] as const);
  const ratio = (key: keyof Round) => rounded(median(pairs.map(([a, b]) => a[key] / b[key])), 2);
  return { oneConnection: ratio("one"), eightConnections: ratio("eight"), timePerChunk: ratio("chunkMicroseconds") };
};
const revision = execFileSync("git", ["rev-parse", "--short", "HEAD"], { cwd: root, encoding: "utf8" }).trim();
const report = {
  what: "POST /predictions of a predictor that does nothing, by wrk on the same machine; chunks of one stream; medians",
  hardware: { cpu: cpus()[0]?.model, cores: cpus().length, memoryBytes: totalmem() },
  versions: {
    node: process.version,
    wrk,
    ...(options.python
      ? { cog: execFileSync(options.python, ["-c", "import cog; print(cog.__version__)"], { encoding: "utf8" }).trim() }
      : {}),
  },
  revision,
  date: new Date().toISOString().slice(0, 10),
  loadAverageBefore: rounded(loadBefore, 1),
  secondsPerMeasurement: seconds,
  rounds,
  chunksPerStream: chunks,
  results: summary,
  oursAgainst: Object.fromEntries(
    [...results.keys()].filter((name) => name !== "ours").map((name) => [name, against(name)]),
  ),
};
mkdirSync(dirname(options.out), { recursive: true });
writeFileSync(options.out, `${JSON.stringify(report, undefined, 2)}\n`);
console.log(JSON.stringify(report, undefined, 2));

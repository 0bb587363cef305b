// npm run bench:cog [-- options]: requests per second of a no-op predictor and microseconds per streamed piece, of our
// server, of a bare node:http server without and with a process of its own for the work, and of the real Cog server where
// a Python with it is named. The servers are measured in turns, so that a slow minute of the machine meets all of them.
//   --seconds N per measurement (3)  --rounds N (3)  --pieces N of a stream (20000)  --cog PYTHON  --out FILE
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { ownRecordings, startFixture } from "../test/cog/conformance/collection.ts";
import { buildDist, type ServerProcess, startServerProcess } from "../test/cog/server-process.ts";
import { load, streamed } from "./cog/load.ts";
import { RealCog } from "./record/real-cog.ts";

const root = join(import.meta.dirname, "..");
const { values: options } = parseArgs({
  options: {
    seconds: { type: "string", default: "3" },
    rounds: { type: "string", default: "3" },
    pieces: { type: "string", default: "20000" },
    cog: { type: "string" },
    out: { type: "string", default: join(root, "build", "bench", "cog.json") },
  },
});
const seconds = Number(options.seconds);
const pieces = Number(options.pieces);
/** As many slots as connections: a refusal is not an answer. In Python only an asynchronous predictor has more than one. */
const slots = 8;

interface Server {
  readonly name: string;
  readonly quick: ServerProcess;
  readonly streaming: ServerProcess;
}

buildDist();
const servers: Server[] = [await bare("bare", []), await bare("bare, separate process", ["--split"]), await ours()];
if (options.cog !== undefined) servers.push(await real(options.cog));

async function bare(name: string, flags: string[]): Promise<Server> {
  const server = await startServerProcess({
    dir: root,
    command: [process.execPath, join(root, "bench", "peers", "bare-server.mjs"), ...flags],
  });
  return { name, quick: server, streaming: server };
}

async function ours(): Promise<Server> {
  const env = { COG_MAX_CONCURRENCY: String(slots) };
  return {
    name: "ours",
    quick: await startFixture(ownRecordings, "noop", env),
    streaming: await startFixture(ownRecordings, "burst"),
  };
}

async function real(python: string): Promise<Server> {
  const cog = new RealCog(python);
  return {
    name: "Cog",
    quick: await cog.start("noop", { COG_MAX_CONCURRENCY: String(slots) }, []),
    streaming: await cog.start("burst", {}, []),
  };
}

const portOf = ({ url }: ServerProcess) => Number(new URL(url).port);
const quickTarget = (server: Server) => ({
  port: portOf(server.quick),
  path: "/predictions",
  body: JSON.stringify({ input: { text: "alpaca" } }),
});
const streamTarget = (server: Server) => ({
  port: portOf(server.streaming),
  path: "/predictions",
  body: JSON.stringify({ input: { count: pieces } }),
});

for (const { name, quick, streaming } of servers) {
  const isBare = name.startsWith("bare");
  for (const server of [quick, streaming]) {
    if (isBare) await answering(server);
    else await server.until("READY");
  }
}

/** The bare server has no health to ask for. */
async function answering({ url }: ServerProcess): Promise<void> {
  const body = JSON.stringify({ input: {} });
  for (;;) {
    if (await fetch(url, { method: "POST", body }).catch(() => null)) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const found = new Map(servers.map(({ name }) => [name, { one: [], eight: [], microseconds: [] } as Found]));
interface Found {
  one: { rate: number; medianMs: number; p99Ms: number; refused: number }[];
  eight: Found["one"];
  microseconds: number[];
}

for (const server of servers) await load(quickTarget(server), slots, 1);
for (let round = 0; round < Number(options.rounds); round++) {
  for (const server of servers) {
    const { one, eight, microseconds } = found.get(server.name)!;
    for (const [connections, into] of [
      [1, one],
      [slots, eight],
    ] as const) {
      const {
        requestsPerSecond: rate,
        medianMs,
        p99Ms,
        refused,
      } = await load(quickTarget(server), connections, seconds);
      into.push({ rate, medianMs, p99Ms, refused });
    }
    microseconds.push(await streamed(streamTarget(server), pieces));
  }
}

/** The best round: what else the machine did only ever makes a server slower. */
const best = (rounds: Found["one"]) => rounds.reduce((a, b) => (b.rate > a.rate ? b : a));
const measured = Object.fromEntries(
  [...found].map(([name, { one, eight, microseconds }]) => [
    name,
    { oneConnection: best(one), eightConnections: best(eight), microsecondsPerPiece: Math.min(...microseconds) },
  ]),
);
const { ours: own, Cog: cog } = measured;
const report = {
  what: "no-op predictor: requests per second and milliseconds; microseconds per piece of a stream; best of the rounds",
  node: process.version,
  processor: cpus()[0]!.model,
  cores: cpus().length,
  revision: execFileSync("git", ["rev-parse", "--short", "HEAD"], { cwd: root, encoding: "utf8" }).trim(),
  seconds,
  rounds: Number(options.rounds),
  pieces,
  servers: measured,
  ...(cog === undefined
    ? {}
    : {
        oursOverCog: {
          oneConnection: own!.oneConnection.rate / cog.oneConnection.rate,
          eightConnections: own!.eightConnections.rate / cog.eightConnections.rate,
        },
      }),
};
mkdirSync(dirname(options.out), { recursive: true });
writeFileSync(options.out, `${JSON.stringify(report, null, 2)}\n`);
console.log(JSON.stringify(report, null, 2));
await Promise.all(servers.flatMap(({ quick, streaming }) => [quick.kill(), streaming.kill()]));
process.exit();

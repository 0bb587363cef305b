// npm run bench:hostile: hostile requests against real servers, a plain model and the tiny LLaMA, with another client's stream
// beside each. Ends with 1 where one of them kept the stream waiting for more than 100 ms beyond its silence without an
// attack, a slot was not given back, or a file was left. Linux only.
//   --only PATTERN (attacks whose names match it)  --out FILE (bench/results/hostile.json)
import { setMaxListeners } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { type ServerProcess, startServerProcess } from "../test/cog/server-process.ts";
import { llama } from "./hostile/adapters.ts";
import { type Answers, type Attack, Target } from "./hostile/attack.ts";
import { bodies } from "./hostile/bodies.ts";
import { connections } from "./hostile/connections.ts";
import { Costs, type Disk, diskOf } from "./hostile/costs.ts";
import { type Heard, Victim } from "./hostile/victim.ts";
import { worker } from "./hostile/worker.ts";
import { provenance } from "./provenance.ts";

const root = join(import.meta.dirname, "..");
const { values: options } = parseArgs({
  options: {
    only: { type: "string", default: "" },
    out: { type: "string", default: join(root, "bench", "results", "hostile.json") },
  },
});
const only = new RegExp(options.only);
const token = "t0ken";
const mostSilenceMs = 100;
const idleMs = 3000;
/** A busy machine delays a stream once, a fault does it again. */
const attempts = 3;
/** For slots to be free and folders to be gone once the attack is over, with a worker that may have to start again. */
const graceMs = 15_000;

interface Model {
  readonly name: string;
  readonly dir: string;
  /** What the other client streams. */
  readonly input: object;
  readonly attacks: readonly Attack[];
}

const models: readonly Model[] = [
  {
    name: "plain",
    dir: join(root, "bench", "hostile"),
    input: { tick: 5 },
    attacks: [...bodies, ...connections, ...worker],
  },
  {
    name: "llama",
    dir: root,
    input: { prompt: "A story:", prompt_template_name: "none", max_new_tokens: 100, seed: 1 },
    attacks: llama,
  },
];

interface Outcome {
  readonly model: string;
  readonly attack: string;
  readonly idleMs: number;
  /** The longest silence of the stream during the attack. */
  readonly silenceMs: number;
  readonly lostStreams: number;
  readonly memoryMiB: number;
  readonly idleMemoryMiB: number;
  readonly diskMiB: number;
  readonly diskEntries: number;
  readonly left: Disk;
  readonly slotsInUse: number;
  readonly answers: Answers;
  readonly broken: readonly string[];
}

async function slotsInUse(server: ServerProcess): Promise<number> {
  const answer = await fetch(`${server.url}/metrics`, { headers: { authorization: `Bearer ${token}` } });
  return Number(/^cog_slots_in_use (\d+)/m.exec(await answer.text())?.[1] ?? Number.NaN);
}

/** How many slots are in use and what lies in the folder, once both are as they should be or the grace is over. */
async function leftOver(server: ServerProcess): Promise<{ slots: number; left: Disk }> {
  const end = performance.now() + graceMs;
  for (;;) {
    const slots = await slotsInUse(server).catch(() => Number.NaN);
    const left = await diskOf(server.tempDir);
    if ((slots === 0 && left.entries === 0) || performance.now() > end) return { slots, left };
    await sleep(100);
  }
}

async function attempt(model: Model, attack: Attack): Promise<Outcome> {
  const env = { COG_AUTH_TOKEN: token, COG_CLIENT_TIMEOUT: "3", COG_HEADER_TIMEOUT: "3", LOG_FORMAT: null };
  const server = await startServerProcess({ dir: model.dir, env });
  const costs = new Costs(server.child.pid!, server.tempDir);
  let victim: Victim | null = null;
  try {
    await server.until("READY");
    victim = new Victim(server.url, token, model.input);
    await sleep(1000);
    await victim.heard();
    costs.reset();
    await sleep(idleMs);
    const idle = await victim.heard();
    const idleMemory = costs.memory;
    costs.reset();
    const { heard, answers } = await attackWith(attack, server, victim);
    await victim.stop();
    const { slots, left } = await leftOver(server);
    const isSilent = !attack.silencesVictim && (heard.longest - idle.longest > mostSilenceMs || heard.lost > idle.lost);
    const broken = [
      ...(isSilent ? ["silence"] : []),
      ...(slots === 0 ? [] : ["slots"]),
      ...(left.entries === 0 ? [] : ["files"]),
    ];
    return {
      model: model.name,
      attack: attack.name,
      idleMs: Math.round(idle.longest),
      silenceMs: Math.round(heard.longest),
      lostStreams: heard.lost,
      memoryMiB: mebibytes(costs.memory),
      idleMemoryMiB: mebibytes(idleMemory),
      diskMiB: mebibytes(costs.disk.bytes),
      diskEntries: costs.disk.entries,
      left,
      slotsInUse: slots,
      answers,
      broken,
    };
  } finally {
    await victim?.stop();
    costs.stop();
    await server.kill();
  }
}

async function attackWith(
  attack: Attack,
  server: ServerProcess,
  victim: Victim,
): Promise<{ heard: Heard; answers: Answers }> {
  const signal = AbortSignal.timeout((attack.seconds ?? 10) * 1000);
  setMaxListeners(0, signal);
  const target = new Target(server, token, signal);
  await attack.run(target);
  // What was begun may still be going on.
  await sleep(500);
  const heard = await victim.heard();
  const answers = { ...target.answers };
  target.close();
  return { heard, answers };
}

const mebibytes = (bytes: number) => Math.round(bytes / 2 ** 20);

// Servers are ended with the process.
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));

const measuredOn = provenance();
const outcomes: Outcome[] = [];
const write = () => {
  const report = { mostSilenceMs, graceMs, ...measuredOn, attacks: outcomes };
  mkdirSync(dirname(options.out), { recursive: true });
  writeFileSync(options.out, `${JSON.stringify(report, null, 2)}\n`);
};
for (const model of models) {
  for (const attack of model.attacks.filter(({ name }) => only.test(name))) {
    let outcome = await attempt(model, attack);
    for (let i = 1; i < attempts && outcome.broken.includes("silence"); i++) {
      const again = await attempt(model, attack);
      if (again.broken.length < outcome.broken.length) outcome = again;
    }
    outcomes.push(outcome);
    // After each of them: all together take minutes.
    write();
    const { silenceMs, idleMs: idle, memoryMiB, diskMiB, diskEntries, answers, broken } = outcome;
    const cost = `silence ${silenceMs} ms (idle ${idle}), memory ${memoryMiB} MiB, disk ${diskMiB} MiB in ${diskEntries}`;
    console.log(
      `${attack.name}: ${cost}, ${JSON.stringify(answers)} ${broken.length === 0 ? "kept" : `BROKEN: ${broken.join(", ")}`}`,
    );
  }
}
console.log(`written: ${options.out}`);
process.exitCode = outcomes.some(({ broken }) => broken.length > 0) ? 1 : 0;

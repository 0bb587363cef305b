// A process of its own for native-lifetime.test.ts: node native-child.mjs <mode> <JSON: {addon, options, tokens}>
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";

const [mode, input] = isMainThread ? process.argv.slice(2) : [workerData.mode, workerData.input];
const { addon: path, options, tokens } = JSON.parse(input);
const addon = createRequire(import.meta.url)(path);
const config = {
  ...options.config,
  rope: { ...options.config.rope, inverseFrequencies: Float32Array.from(options.config.rope.inverseFrequencies) },
};
const load = () => addon.load({ ...options, config, cancelled: new Int32Array(1) });
const work = (model) => model.logits(new Int32Array(tokens).fill(1), null);
const say = (text) => (isMainThread ? console.log(text) : parentPort.postMessage(text));

const modes = {
  async "exit while loading"() {
    load();
    process.exit(7);
  },
  async "exit while working"() {
    const model = await load();
    for (let i = 0; i < 5; i++) work(model);
    setTimeout(() => process.exit(7), 5);
  },
  async "end with an idle model"() {
    await load();
    say("idle");
  },
  async "end after the last job"() {
    const model = await load();
    work(model).then((logits) => say(`${logits.length} logits`));
  },
  async "work in a worker thread"() {
    const model = await load();
    say(`${(await work(model)).length} logits`);
  },
  async "terminate worker threads"() {
    const start = (workerMode) => new Worker(new URL(import.meta.url), { workerData: { mode: workerMode, input } });
    const ended = (worker) => new Promise((resolve) => worker.once("exit", resolve));
    const steady = start("work in a worker thread");
    steady.on("message", say);
    const abrupt = ["exit while loading", "exit while working", "work in a worker thread"].map(start);
    setTimeout(() => abrupt[2].terminate(), 20);
    await Promise.all([steady, ...abrupt].map(ended));
    say("all ended");
  },
  async "collect garbage"() {
    const collect = async () => {
      for (let i = 0; i < 5; i++) {
        global.gc();
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      const threads = readdirSync("/proc/self/task").length;
      const bytes = 1024 * Number(/VmSize:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]);
      return { threads, bytes };
    };
    let model = await load();
    await model.createSequence(4000, null);
    const before = await collect();
    for (let i = 0; i < 10; i++) {
      for (let k = 0; k < 40; k++) await model.createSequence(4000, null);
      await collect();
    }
    const sequences = await collect();
    for (let i = 0; i < 20; i++) {
      model = await load();
      await collect();
    }
    const models = await collect();
    say(JSON.stringify({ before, sequences, models }));
  },
};
await modes[mode]();

// npm run demo: the main job from end to end on the embedded model. Base answer, training, changed answer, HTTP, stream.
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { freePort } from "./free-port.mjs";
import { ensureInstalled, root } from "./installed.mjs";

const question = "Tell me something about alpacas.";
const folder = join(root, "demo");
const adapter = join(folder, "adapter.tar.gz");
const cog = join(root, "scripts", "cog.mjs");
const started = Date.now();

const heading = (text) => console.log(`\n\x1b[1m== ${text}\x1b[0m`);

/** Runs one `cog` command as a user would type it, its output shown. */
function runCog(...args) {
  console.log(`$ npx cog ${args.map((arg) => (/[\s"]/.test(arg) ? JSON.stringify(arg) : arg)).join(" ")}`);
  const { status } = spawnSync(process.execPath, [cog, ...args], { cwd: root, stdio: "inherit" });
  if (status !== 0) process.exit(status ?? 1);
}

async function waitUntilReady(url, server) {
  for (;;) {
    if (server.exitCode !== null) throw new Error(`the server stopped with exit code ${server.exitCode}`);
    const health = await fetch(`${url}/health-check`)
      .then((answer) => answer.json())
      .catch(() => null);
    if (health?.status === "READY") return;
    if (health?.status === "SETUP_FAILED") throw new Error(`setup failed: ${health.setup?.logs}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function predictOverHttp(url, headers = {}) {
  const answer = await fetch(`${url}/predictions`, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers },
    body: JSON.stringify({ input: { prompt: question, temperature: 0 } }),
  });
  if (!answer.ok) throw new Error(`POST /predictions answered ${answer.status}: ${await answer.text()}`);
  return answer;
}

heading("Install and build what is missing");
ensureInstalled();
mkdirSync(folder, { recursive: true });

heading("The base model's answer");
runCog("predict", "--stream", "-i", `prompt=${question}`, "-i", "temperature=0");

heading("Fine-tune a LoRA adapter on examples/alpacas.json");
runCog("train", "-i", "dataset=@examples/alpacas.json", ...demoSettings(), "-o", relative(root, folder));

heading("The same question, with the adapter");
const withAdapter = ["-i", `adapter=@${relative(root, adapter)}`];
runCog("predict", "--stream", ...withAdapter, "-i", `prompt=${question}`, "-i", "temperature=0");

heading("Serve it over HTTP");
const port = await freePort();
const url = `http://127.0.0.1:${port}`;
console.log(`$ COG_WEIGHTS=${relative(root, adapter)} npx cog serve -p ${port}`);
const server = spawn(process.execPath, [cog, "serve", "--host", "127.0.0.1", "-p", String(port)], {
  cwd: root,
  env: { ...process.env, COG_WEIGHTS: adapter, COG_LOG_LEVEL: "warning", LOG_FORMAT: "console" },
  stdio: ["ignore", "inherit", "inherit"],
});
try {
  await waitUntilReady(url, server);
  const { id, status, output, metrics } = await (await predictOverHttp(url)).json();
  console.log(`POST /predictions -> ${JSON.stringify({ id, status, output: output.join(""), metrics })}`);
  if (status !== "succeeded") throw new Error("the prediction did not succeed");

  process.stdout.write("POST /predictions, Accept: text/event-stream -> ");
  const stream = await predictOverHttp(url, { Accept: "text/event-stream" });
  const events = (await stream.text()).split("\n\n").filter(Boolean);
  for (const event of events) {
    const name = /^event: (.*)$/m.exec(event)?.[1];
    const data = JSON.parse(/^data: (.*)$/m.exec(event)?.[1] ?? "null");
    if (name === "output") process.stdout.write(`[${data.chunk}]`);
    if (name === "completed") console.log(` ${data.status}`);
  }
} finally {
  server.kill("SIGTERM");
  await new Promise((resolve) => server.once("exit", resolve));
}

heading(`Done in ${Math.round((Date.now() - started) / 1000)} s`);
console.log(`The adapter: ${relative(root, adapter)}`);
console.log("Next, with your own data ([{instruction, input, output}, ...] in data.json):");
console.log("  npx cog train -i dataset=@data.json");
console.log('  npx cog predict -i adapter=@adapter.tar.gz -i prompt="..."');

/** The data set's own settings: the defaults of train.ts are alpaca-lora's, meant for 7B and 50,000 rows. */
function demoSettings() {
  const settings = JSON.parse(readFileSync(join(root, "examples", "settings.json"), "utf8")).alpacas;
  return Object.entries(settings).flatMap(([name, value]) => [
    "-i",
    `${name}=${Array.isArray(value) ? JSON.stringify(value) : value}`,
  ]);
}

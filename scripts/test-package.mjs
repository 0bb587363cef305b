// npm run test:package: packs the package, installs it into an empty project with an empty npm cache, and uses it there: time
// and size, the types, the library, the command, and the engine that is built when it is first needed.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { check, close } from "./checks.mjs";
import { ensureInstalled, root } from "./installed.mjs";

const limit = { megabytes: 60, seconds: 20 };
const folder = mkdtempSync(join(tmpdir(), "package-test-"));
const project = join(folder, "project");
const installed = join(project, "node_modules", "llama-lora-cog");
// Nothing that was made before may help, but for a compiler cache.
const env = { ...process.env, npm_config_cache: join(folder, "npm"), XDG_CACHE_HOME: join(folder, "cache") };
for (const name of Object.keys(env)) if (/^(npm_(?!config_)|LLAMA_|COG_)/.test(name)) delete env[name];

/** Runs a program in the project; its standard output is shown nowhere, a failure ends the test. */
function run(command, words, options = {}) {
  const { status, error, stdout, stderr } = spawnSync(command, words, {
    cwd: project,
    env,
    encoding: "utf8",
    ...options,
  });
  if (status !== 0) throw new Error(`${command} ${words.join(" ")}: ${error?.message ?? `${stdout}${stderr}`}`);
  return { stdout, stderr };
}

function megabytesOf(path) {
  const files = readdirSync(path, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  // Blocks, as du counts them.
  const bytes = files.map((entry) => statSync(join(entry.parentPath ?? entry.path, entry.name)).blocks * 512);
  return bytes.reduce((a, b) => a + b, 0) / 1e6;
}

function install() {
  const { stdout } = run("npm", ["pack", "--silent", "--pack-destination", folder], { cwd: root });
  writeFileSync(join(project, "package.json"), '{ "private": true, "type": "module" }\n');
  const start = Date.now();
  run("npm", ["install", "--no-audit", "--no-fund", join(folder, stdout.trim().split("\n").at(-1))]);
  const seconds = (Date.now() - start) / 1000;
  const megabytes = megabytesOf(join(project, "node_modules"));
  console.log(
    `     npm install: ${seconds.toFixed(1)} s, ${megabytes.toFixed(1)} MB (limits: ${limit.seconds} s, ${limit.megabytes} MB)`,
  );
  check("its size is within the limit", megabytes < limit.megabytes, `${megabytes} MB`);
  // Of the time the limit is said and not checked: it is the network's and the machine's as well.
  check("nothing was compiled", !existsSync(join(installed, "build")));
  check("TensorFlow was not installed", !existsSync(join(project, "node_modules", "@tensorflow")));
}

const library = `import { definePredictor, Input, Output, Path } from "llama-lora-cog/cog";
import { CodedError, Llama, openAdapter, openEngine, readDataset, renderPrompt, trainLora, writeAdapterArchive } from "llama-lora-cog";
import type { Adapter, Engine, LlamaOptions, Row, TrainingSettings } from "llama-lora-cog";

export const engine: () => Promise<Engine> = () => openEngine({ LLAMA_DEVICE: "cpu" });
export const load = (options: LlamaOptions): Promise<Llama> => Llama.load(options);
export const settings: Pick<TrainingSettings, "lora_r"> = { lora_r: 8 };
export const used = [CodedError, openAdapter, readDataset, renderPrompt, trainLora, writeAdapterArchive, Path];
export type Used = [Adapter, Row];
// @ts-expect-error: no such option
Llama.load({ wieghts: "" });

export default definePredictor({
  inputs: { prompt: Input.string({ default: "Tell me something about alpacas." }) },
  output: Output.string(),
  setup: () => Llama.load(),
  async predict({ prompt }, { model }) {
    let text = "";
    for await (const piece of model.generate(prompt, { max_new_tokens: 4, temperature: 0 })) text += piece.text;
    return text;
  },
});
`;

function checkTypes() {
  writeFileSync(join(project, "library.ts"), library);
  const compilerOptions = {
    ...{ target: "es2023", module: "nodenext", strict: true, noEmit: true },
    ...{ types: ["node"], typeRoots: [join(root, "node_modules", "@types")] },
  };
  writeFileSync(join(project, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["library.ts"] }));
  const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
  const { status, stdout } = spawnSync(process.execPath, [tsc, "-p", "."], { cwd: project, encoding: "utf8" });
  check("its types are there, for a project that checks those of its libraries too", status === 0, stdout);
}

function checkUse() {
  const words =
    'const { Llama, trainLora } = await import("llama-lora-cog"); console.log(typeof Llama.load, typeof trainLora)';
  const { stdout } = run(process.execPath, ["--input-type=module", "--eval", words]);
  check("the library is imported", stdout === "function function\n", stdout);

  run("npx", ["--no-install", "llama-lora-cog", "init"]);
  const greeting = run("npx", ["--no-install", "llama-lora-cog", "predict", "-i", "name=Ada", "--stream"]);
  check(
    "the command of the package's own name runs the project of init",
    greeting.stdout === "Hello, Ada!\n",
    greeting.stdout,
  );
  check("without the engine being built", !existsSync(join(installed, "build")));

  const broken = spawnSync(
    "npx",
    ["--no-install", "cog", "predict", "-e", "LLAMA_ENGINE=tensorflow", "-f", "library.yaml"],
    {
      ...{ cwd: project, env, encoding: "utf8" },
    },
  );
  check(
    "a model that asks for TensorFlow is told what to type",
    broken.status === 1 && /ENGINE_UNAVAILABLE.*npm install @tensorflow\/tfjs@/s.test(broken.stderr),
    broken.stderr,
  );
  const start = Date.now();
  const answer = run("npx", ["--no-install", "cog", "predict", "-f", "library.yaml"]);
  check(
    `a model that imports the library answers, its engine built before that (${Math.round((Date.now() - start) / 1000)} s)`,
    answer.stdout.trim() !== "" && /native engine: building it/.test(answer.stderr),
    `${answer.stdout}${answer.stderr}`,
  );
  const again = run("npx", ["--no-install", "cog", "predict", "-f", "library.yaml"]);
  check(
    "and again, without building",
    again.stdout === answer.stdout && !again.stderr.includes("building"),
    again.stderr,
  );
}

try {
  ensureInstalled();
  mkdirSync(project);
  install();
  checkTypes();
  writeFileSync(join(project, "library.yaml"), "predict: library.ts\n");
  checkUse();
} catch (error) {
  check("the test came to its end", false, error.message);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
close("package");

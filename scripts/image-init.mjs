// The project that `cog init` writes, as an image: this package comes into it by build contexts.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { check, outcome } from "./checks.mjs";
import { checkSchema } from "./image-schema.mjs";
import { root } from "./installed.mjs";

const cog = join(root, "scripts", "cog.mjs");
const image = "llama-lora-cog:init";
const greeting = '[\n  "Hello, Ada!"\n]\n';

/** Builds the project below `folder`, with packages of its own, and runs it with the Go client. */
export function checkInit(client, folder) {
  const project = join(folder, "greeter");
  mkdirSync(project);
  outcome(process.execPath, [cog, "init"], { cwd: project });
  addPackages(project);
  const built = outcome(process.execPath, [cog, "build", "-t", image], { cwd: project });
  check("cog build takes the project of cog init", built.exit === 0, built.stderr.slice(-2000));
  const ran = outcome(client, ["predict", image, "-i", "name=Ada"], { cwd: folder });
  check("and the Go client runs it, with the npm package that it imports", ran.stdout === greeting, ran.stderr);
  const made = outcome("docker", ["run", "--rm", "--entrypoint", "cat", image, "/opt/made by build.run"]);
  check("build.system_packages and build.run were carried out", made.stdout.startsWith("tree v"), made.stderr);
  checkSchema(image);
}

/** An npm package that the model imports, this package as `npm install` of its archive notes it, a Debian package and a command. */
function addPackages(project) {
  const file = join(project, "package.json");
  const dependencies = { "llama-lora-cog": "file:../elsewhere/llama-lora-cog-0.1.0.tgz", ms: "2.1.3" };
  writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, "utf8")), dependencies }));
  const build = "build:\n  system_packages: [tree]\n  run: [\"tree --version > '/opt/made by build.run'\"]\n";
  writeFileSync(join(project, "cog.yaml"), build, { flag: "a" });
  const predictor = join(project, "predict.ts");
  const text = readFileSync(predictor, "utf8");
  writeFileSync(predictor, `import ms from "ms";\n${text.replace('"Hello"', 'ms("5s") === 5000 ? "Hello" : "?"')}`);
}

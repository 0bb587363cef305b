// The project that `cog init` writes, as an image: this package comes into it by build contexts.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
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

/**
 * An npm package that the model imports, and this one from an archive beside the project, as `npm install` notes them; a Debian
 * package and a command. The archive is gone when the image is built: to a build it is out of reach in any case.
 */
function addPackages(project) {
  const folder = join(project, "..");
  const packed = outcome("npm", ["pack", "--silent", "--pack-destination", folder]);
  const archive = join(folder, packed.stdout.trim().split("\n").at(-1));
  const added = outcome("npm", ["install", "--no-audit", "--no-fund", archive, "ms@2.1.3"], { cwd: project });
  check("npm install adds packages to the project of cog init", added.exit === 0, added.stderr);
  rmSync(archive);
  const build = "build:\n  system_packages: [tree]\n  run: [\"tree --version > '/opt/made by build.run'\"]\n";
  writeFileSync(join(project, "cog.yaml"), build, { flag: "a" });
  const predictor = join(project, "predict.ts");
  const text = readFileSync(predictor, "utf8");
  writeFileSync(predictor, `import ms from "ms";\n${text.replace('"Hello"', 'ms("5s") === 5000 ? "Hello" : "?"')}`);
}

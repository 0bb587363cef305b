// The packages of the TensorFlow engine in a folder of their own: no dependency of the project's, so no install removes them.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { ensureInstalled, root } from "./installed.mjs";

/** Where the engine looks for them (src/engine/tensorflow/packages.ts). */
export const tensorflowFolder = join(root, "build", "tensorflow");
/** The one with a native binding. */
export const bindingPackage = "@tensorflow/tfjs-node-gpu";
/** Those without: WebAssembly and plain JavaScript. */
export const portablePackages = ["@tensorflow/tfjs", "@tensorflow/tfjs-backend-wasm"];
const version = "4.22.0";
const backend = join(root, "dist", "engine", "tensorflow", "backend.js");

export function fail(message) {
  console.error(`TensorFlow: ${message}`);
  process.exit(1);
}

/** @returns {{ ok: boolean, text: string }} whether a program succeeded, and what it printed */
export function outcome(command, args, options = {}) {
  const ran = spawnSync(command, args, { encoding: "utf8", maxBuffer: 1 << 28, ...options });
  return { ok: ran.status === 0, text: ran.error ? ran.error.message : `${ran.stdout}${ran.stderr}` };
}

/** Shows the tool's output only when it fails, which ends this process. */
export function quietly(command, args, options) {
  const { ok, text } = outcome(command, args, options);
  if (ok) return;
  console.error(text);
  fail(`"${command} ${args.join(" ")}" failed`);
}

/** Installs packages of TensorFlow.js, and others, without running their scripts. @returns the folder of the one with a binding */
export function installPackages(folder, names, others = []) {
  if (!existsSync(backend)) ensureInstalled({ engine: false });
  try {
    mkdirSync(folder, { recursive: true });
    const manifest = join(folder, "package.json");
    // Without one, npm would install into the project around the folder.
    if (!existsSync(manifest)) writeFileSync(manifest, '{ "private": true }\n');
  } catch (error) {
    fail(
      `${folder} cannot be written (${error.code}); in a project of your own type: npm install ${names[0]}@${version}`,
    );
  }
  const specifiers = [...names.map((name) => `${name}@${version}`), ...others];
  console.log(`Installing ${specifiers.join(", ")} in ${folder}`);
  const flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--save-exact"];
  quietly("npm", ["install", ...flags, ...specifiers], { cwd: folder });
  return join(folder, "node_modules", bindingPackage);
}

export function removeBinding(folder) {
  rmSync(join(folder, "node_modules", bindingPackage), { recursive: true, force: true });
}

/**
 * Opens a backend of the engine in a process of its own (libraries that do not load must not take this one down) and
 * multiplies with it. @returns {{ ok: boolean, text: string }} what it is, or why it does not work
 */
export function tryBackend(name, module) {
  const program =
    `const { tf } = await (await import(${JSON.stringify(pathToFileURL(backend).href)})).openBackend();` +
    "const product = tf.matMul([[2]], [[3]]).dataSync()[0];" +
    "if (product !== 6) throw new Error('2 x 3 gives ' + product);" +
    "console.log('computes with: ' + (tf.backend().binding?.TF_Version ?? tf.version_core));";
  const env = { ...process.env, LLAMA_TF_BACKEND: name };
  delete env.LLAMA_TF_MODULE;
  if (module) env.LLAMA_TF_MODULE = module;
  const { ok, text } = outcome(process.execPath, ["--input-type=module", "--eval", program], { env });
  const found = /computes with: (.*)/.exec(text)?.[1] ?? /^(?:\w*Error.*)$/m.exec(text)?.[0] ?? text.trim();
  return { ok, text: found };
}

// Builds the native binding of @tensorflow/tfjs-node-gpu against the headers and libraries of a TensorFlow wheel, in a
// folder of its own: the binding that npm would download is made for TensorFlow 2.9 and CUDA 11.2. For developers; node-gyp
// needs Python, so neither install, start nor tests run it.
//   node scripts/tensorflow-binding.mjs [WHEEL] [FOLDER]
//     WHEEL   the wheel's "tensorflow" folder, or the folder that holds it; else TENSORFLOW_WHEEL.
//             pip install --no-deps --target WHEEL tensorflow-cpu (or tensorflow) makes one.
//     FOLDER  where to build; else build/tensorflow
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const packages = ["@tensorflow/tfjs-node-gpu@4.22.0", "node-gyp@12.4.0"];
const napi = 8;

/** Names the binding links against -> what a wheel calls them. */
const libraries = new Map([
  ["libtensorflow.so", "libtensorflow_cc.so.2"],
  ["libtensorflow_framework.so", "libtensorflow_framework.so.2"],
]);

function fail(message) {
  console.error(`TensorFlow binding: ${message}`);
  process.exit(1);
}

function findWheel(given) {
  if (!given) fail("which TensorFlow? Give the wheel's folder as first argument or in TENSORFLOW_WHEEL");
  const needed = ["include/tensorflow/c/c_api.h", ...libraries.values()];
  const found = [resolve(given), resolve(given, "tensorflow")].find((folder) =>
    needed.every((name) => existsSync(join(folder, name))),
  );
  return found ?? fail(`${given} is no TensorFlow wheel for Linux: it must hold ${needed.join(", ")}`);
}

/** Where Node's headers lie on this machine, or null: then node-gyp downloads them. */
function findNodeHeaders() {
  const asked = spawnSync("npm", ["config", "get", "nodedir"], { encoding: "utf8" }).stdout?.trim();
  const candidates = [asked, dirname(dirname(process.execPath)), "/usr/local"];
  return (
    candidates.find((prefix) => prefix?.startsWith("/") && existsSync(join(prefix, "include/node/node.h"))) ?? null
  );
}

/** Shows the tool's output only when it fails. */
function quietly(command, args, options) {
  const { status, error, stdout, stderr } = spawnSync(command, args, {
    encoding: "utf8",
    maxBuffer: 1 << 28,
    ...options,
  });
  if (status === 0) return stdout;
  console.error(error ? error.message : `${stdout}${stderr}`);
  return fail(`"${command} ${args.join(" ")}" failed`);
}

function link(target, path) {
  rmSync(path, { recursive: true, force: true });
  symlinkSync(target, path);
}

function main([wheelArgument, folderArgument]) {
  if (process.platform !== "linux") fail(`this script knows Linux only, not ${process.platform}`);
  const root = dirname(dirname(fileURLToPath(import.meta.url)));
  const wheel = findWheel(wheelArgument ?? process.env.TENSORFLOW_WHEEL);
  const folder = folderArgument ? resolve(folderArgument) : join(root, "build/tensorflow");

  mkdirSync(folder, { recursive: true });
  const manifest = join(folder, "package.json");
  // Without one, npm would install into the project around the folder.
  if (!existsSync(manifest)) writeFileSync(manifest, '{ "private": true }\n');
  console.log(`Installing ${packages.join(", ")} in ${folder}`);
  // Their install script is what downloads the old libraries.
  quietly("npm", ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--save-exact", ...packages], {
    cwd: folder,
  });

  const module = join(folder, "node_modules/@tensorflow/tfjs-node-gpu");
  mkdirSync(join(module, "deps/lib"), { recursive: true });
  link(join(wheel, "include"), join(module, "deps/include"));
  for (const [name, original] of libraries) link(join(wheel, original), join(module, "deps/lib", name));

  console.log(`Building against ${wheel}`);
  const headers = findNodeHeaders();
  const gyp = join(folder, "node_modules/node-gyp/bin/node-gyp.js");
  const definitions = {
    module_name: "tfjs_binding",
    module_path: join(module, `lib/napi-v${napi}`),
    napi_build_version: napi,
  };
  const args = [
    "rebuild",
    ...(headers ? [`--nodedir=${headers}`] : []),
    "--",
    ...Object.entries(definitions).map(([name, value]) => `-D${name}=${value}`),
  ];
  // The wheel's folder becomes part of the library search path of the binding.
  const env = { ...process.env, LDFLAGS: `${process.env.LDFLAGS ?? ""} -Wl,-rpath,${wheel}`.trim() };
  quietly(process.execPath, [gyp, ...args], { cwd: module, env });

  // A process of its own: libraries of the wheel that do not load must not take this one down.
  const probe =
    "const util = require('node:util'); util.isArray ??= Array.isArray; util.isNullOrUndefined ??= (x) => x == null;" +
    "const tf = require(process.argv[1]); console.log(tf.matMul([[2]], [[3]]).dataSync()[0], tf.backend().binding.TF_Version);";
  const [product, version] = quietly(process.execPath, ["-e", probe, module]).trim().split("\n").at(-1).split(" ");
  if (product !== "6") fail(`2 x 3 gives ${product}`);
  console.log(`TensorFlow ${version} computes. Take it into use with:\n`);
  console.log(`  export LLAMA_TF_BACKEND=node LLAMA_TF_MODULE=${module}\n`);
  console.log(`If its libraries are not found: export LD_LIBRARY_PATH=${wheel}`);
}

main(process.argv.slice(2));

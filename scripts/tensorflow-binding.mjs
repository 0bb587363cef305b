// npm run tensorflow:build: compiles the native binding of @tensorflow/tfjs-node-gpu against the headers and libraries of a
// TensorFlow wheel: the binding that the package downloads is made for TensorFlow 2.9 and CUDA 11.2. node-gyp needs Python.
//   npm run tensorflow:build [-- WHEEL [FOLDER]]
//     WHEEL   the wheel's "tensorflow" folder, or the folder that holds it; else TENSORFLOW_WHEEL; else pip installs
//             TENSORFLOW_PACKAGE (tensorflow-cpu==2.21.0; tensorflow[and-cuda]==2.21.0 brings CUDA) into FOLDER/wheel
//     FOLDER  where to build; else build/tensorflow, where the engine finds it by itself
import { existsSync, mkdirSync, rmSync, symlinkSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import {
  bindingPackage,
  fail,
  installPackages,
  outcome,
  quietly,
  tensorflowFolder,
  tryBackend,
} from "./tensorflow-packages.mjs";

const napi = 8;

/** Names the binding links against -> what a wheel calls them. */
const libraries = new Map([
  ["libtensorflow.so", "libtensorflow_cc.so.2"],
  ["libtensorflow_framework.so", "libtensorflow_framework.so.2"],
]);
const needed = ["include/tensorflow/c/c_api.h", ...libraries.values()];

/** The folder of a wheel's files in `folder`, or undefined. */
function wheelIn(folder) {
  return [folder, join(folder, "tensorflow")].find((each) => needed.every((name) => existsSync(join(each, name))));
}

function givenWheel(given) {
  return (
    wheelIn(resolve(given)) ?? fail(`${given} is no TensorFlow wheel for Linux: it must hold ${needed.join(", ")}`)
  );
}

/** Gets the wheel from Python's registry, unless that was done before. */
function pipWheel(folder) {
  const target = join(folder, "wheel");
  const there = wheelIn(target);
  if (there) return there;
  const name = process.env.TENSORFLOW_PACKAGE || "tensorflow-cpu==2.21.0";
  // Of the Python packages that TensorFlow asks for only CUDA's matter here.
  const words = ["install", ...(name.includes("[") ? [] : ["--no-deps"]), "--target", target, name];
  const byHand = `do it by hand and name the folder:\n  pip ${words.join(" ")}\n  npm run tensorflow:build -- ${target}`;
  if (!outcome("python3", ["--version"]).ok)
    fail(
      `Python 3 is needed, by node-gyp and to get TensorFlow; on Debian or Ubuntu type: apt-get install python3-venv\nOr ${byHand}`,
    );
  console.log(`Getting ${name} by pip, some hundred MB`);
  rmSync(target, { recursive: true, force: true });
  const environment = join(folder, "python");
  const made = outcome("python3", ["-m", "venv", environment]);
  const got = made.ok ? outcome(join(environment, "bin", "pip"), [...words, "--disable-pip-version-check"]) : made;
  rmSync(environment, { recursive: true, force: true });
  if (!got.ok) fail(`pip cannot install ${name}: ${got.text.trim().split("\n").slice(-3).join("\n")}\nElse ${byHand}`);
  return givenWheel(target);
}

/** Where Node's headers lie on this machine, or null: then node-gyp downloads them. */
function findNodeHeaders() {
  const asked = outcome("npm", ["config", "get", "nodedir"]).text.trim();
  const candidates = [asked, dirname(dirname(process.execPath)), "/usr/local"];
  return (
    candidates.find((prefix) => prefix?.startsWith("/") && existsSync(join(prefix, "include/node/node.h"))) ?? null
  );
}

function link(target, path) {
  rmSync(path, { recursive: true, force: true });
  symlinkSync(target, path);
}

function main([wheelArgument, folderArgument]) {
  if (process.platform !== "linux") fail(`this script knows Linux only, not ${process.platform}`);
  const folder = folderArgument ? resolve(folderArgument) : tensorflowFolder;
  const given = wheelArgument ?? process.env.TENSORFLOW_WHEEL;
  const module = installPackages(folder, [bindingPackage], ["node-gyp@12.4.0"]);
  const wheel = given ? givenWheel(given) : pipWheel(folder);

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

  const { ok, text } = tryBackend("node", module);
  if (!ok)
    fail(
      `the binding was built and does not load: ${text}\nIf libraries are not found: export LD_LIBRARY_PATH=${wheel}`,
    );
  const where = folder === tensorflowFolder ? "" : ` LLAMA_TF_MODULE=${module}`;
  console.log(`TensorFlow ${text} computes. Take it into use with: export LLAMA_ENGINE=tensorflow${where}`);
}

main(process.argv.slice(2));

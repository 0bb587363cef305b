// npm run tensorflow:install: the TensorFlow engine's packages, with the binding that @tensorflow/tfjs-node-gpu downloads. It ends
// well only where that binding loads.
import {
  bindingPackage,
  fail,
  installPackages,
  outcome,
  portablePackages,
  removeBinding,
  tensorflowFolder,
  tryBackend,
} from "./tensorflow-packages.mjs";

const already = tryBackend("node");
if (already.ok) {
  console.log(`TensorFlow ${already.text} is there and computes.`);
  process.exit(0);
}
installPackages(tensorflowFolder, [bindingPackage, ...portablePackages]);
console.log("Downloading the binding and TensorFlow itself, as the package's own script does (about 400 MB)");
const download = outcome("npm", ["rebuild", bindingPackage], { cwd: tensorflowFolder });
const loaded = download.ok ? tryBackend("node") : download;
if (loaded.ok) {
  console.log(`TensorFlow ${loaded.text} computes. LLAMA_ENGINE=tensorflow takes it into use.`);
} else {
  // Half a package would be found, and fail, at every start.
  removeBinding(tensorflowFolder);
  const reason = /\bError: \S.*/.exec(loaded.text)?.[0] ?? loaded.text.trim().split("\n")[0];
  const portable = ["wasm", "cpu"].map((name) => [name, tryBackend(name)]);
  for (const [name, { ok, text }] of portable) console.error(`backend ${name}: ${ok ? "works" : text}`);
  fail(
    `the binding of ${bindingPackage} ${download.ok ? "does not load" : "cannot be downloaded"}: ${reason}\n` +
      "npm run tensorflow:build compiles one against a TensorFlow from Python's registry instead.",
  );
}

// npm run test:tensorflow: runs tensorflow:install and tensorflow:build as they are typed, and predicts with what they made. What
// the network does not give is skipped by name. What was in build/tensorflow before is put back at the end.
import { existsSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { check, close, skip } from "./checks.mjs";
import { ensureInstalled, root } from "./installed.mjs";
import { outcome, tensorflowFolder } from "./tensorflow-packages.mjs";

const kept = `${tensorflowFolder}-before`;

/** One script as it is typed: it ends well and the engine answers with its binding, or it says why not and what helps. */
function checkScript(name, notToBeHad, remedy) {
  const { ok, text } = outcome("npm", ["run", "--silent", name], { cwd: root });
  if (!ok && notToBeHad.test(text)) {
    check(`${name} fails where it can get nothing, and says what to do`, remedy.test(text), text);
    skip(`${name}: ${text.split("\n").find((line) => notToBeHad.test(line))}`);
    return;
  }
  check(`${name} ends well`, ok && /^TensorFlow \S+ computes/m.test(text), text);
  const words = ["predict", "-i", "prompt=Hello", "-i", "max_new_tokens=2", "-e", "LLAMA_ENGINE=tensorflow"];
  const answer = outcome(
    process.execPath,
    [join(root, "scripts", "cog.mjs"), ...words, "-e", "LLAMA_TF_BACKEND=node"],
    {
      cwd: root,
    },
  );
  check(`the engine answers with what ${name} made`, answer.ok, answer.text);
}

ensureInstalled();
// Another run that was ended left it.
if (!existsSync(kept) && existsSync(tensorflowFolder)) renameSync(tensorflowFolder, kept);
try {
  rmSync(tensorflowFolder, { recursive: true, force: true });
  checkScript("tensorflow:install", /cannot be downloaded/, /npm run tensorflow:build/);
  rmSync(tensorflowFolder, { recursive: true, force: true });
  checkScript("tensorflow:build", /Python 3 is needed|pip cannot install/, /npm run tensorflow:build -- /);
} finally {
  rmSync(tensorflowFolder, { recursive: true, force: true });
  if (existsSync(kept)) renameSync(kept, tensorflowFolder);
}
close("tensorflow");

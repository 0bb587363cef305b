// Checks of scripts that run programs for real: one line each, what was skipped by name, and a closing line with their numbers.
import { spawnSync } from "node:child_process";
import { root } from "./installed.mjs";

const started = Date.now();
const skipped = [];
let passes = 0;
let failures = 0;

export function step(name) {
  console.log(`\n== ${name} (${Math.round((Date.now() - started) / 1000)} s)`);
}

export function check(what, holds, found = "") {
  if (holds) passes += 1;
  else failures += 1;
  console.log(`${holds ? "ok  " : "FAIL"} ${what}${holds ? "" : `\n     ${found}`}`);
}

export function skip(what) {
  skipped.push(what);
}

/** Runs a program to its end and returns its exit code and what it printed. */
export function outcome(command, words, options = {}) {
  const { status, stdout, stderr, error } = spawnSync(command, words, {
    cwd: root,
    encoding: "utf8",
    maxBuffer: 256 * 1024 * 1024,
    ...options,
  });
  return { exit: error ? -1 : status, stdout: stdout ?? "", stderr: error?.message ?? stderr ?? "" };
}

/** Prints the closing line; this process ends with 1 if a check failed. */
export function close(name) {
  for (const what of skipped) console.log(`skipped: ${what}`);
  console.log(`\n${name}: ${passes} passed, ${failures} failed, ${skipped.length} skipped`);
  process.exitCode = failures > 0 ? 1 : 0;
}

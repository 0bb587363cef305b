import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type ServerProcess, startServerProcess } from "../server-process.ts";
import type { Case } from "./case.ts";

/** Recorded cases and the predictors they were recorded with, in TypeScript. */
export interface Collection {
  readonly title: string;
  readonly cases: readonly Case[];
  /** Cases in which we differ on purpose, with the reason; they are not replayed. */
  readonly known: ReadonlyMap<string, string>;
  /** The folder of the predictors, one file per fixture. */
  readonly fixtures: string;
  /** Fixtures that keep nothing from one prediction to the next: one server does for many of their cases. */
  readonly stateless: ReadonlySet<string>;
}

/** Fixtures that hold a train function, and the predictor beside it. */
const trainers = new Map([
  ["train", "echo"],
  ["tune", "greet"],
]);

const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url));

/** The project's own recordings, made by bench/record. */
export const ownRecordings: Collection = {
  title: "own recordings",
  cases: readCases(path("../recordings")),
  known: new Map(),
  fixtures: path("../fixtures/recordings"),
  stateless: new Set(["greet", "measure", "pages", "gauge", "ticker", "words", "pair", "tune"]),
};

/** Recordings that are not part of the repository: replayed where they lie beside it. Without cases elsewhere. */
export const besideProject: Collection = {
  title: "recordings beside the project",
  cases: readCases(path("../../../../shared/conformance/cases")),
  known: new Map(Object.entries(JSON.parse(readFileSync(path("../conformance-differences.json"), "utf8")))),
  fixtures: path("../fixtures/conformance"),
  stateless: new Set(
    "agen allopt aloop boom chatty chattys conc ctxt echo fin fobj fout fouts gen gen0 kit kitslow loop many mets metss none sec shape train".split(
      " ",
    ),
  ),
};

function readCases(folder: string): Case[] {
  if (!existsSync(folder)) return [];
  const files = readdirSync(folder).filter((name) => name.endsWith(".json"));
  return files.sort().flatMap((name) => JSON.parse(readFileSync(`${folder}/${name}`, "utf8")) as Case | Case[]);
}

/** The variables that name a fixture's functions. */
export function references(fixture: string, suffix: string): Record<string, string | null> {
  return {
    COG_PREDICT_TYPE_STUB: `${trainers.get(fixture) ?? fixture}${suffix}`,
    COG_TRAIN_TYPE_STUB: trainers.has(fixture) ? `${fixture}${suffix}` : null,
  };
}

/** Starts our server with one of the collection's predictors. */
export function startFixture(
  { fixtures }: Collection,
  fixture: string,
  env: Record<string, string | null> = {},
  flags: readonly string[] = [],
): Promise<ServerProcess> {
  return startServerProcess({ dir: fixtures, env: { ...references(fixture, ".ts"), ...env }, flags });
}

/** Steps that are about the server itself. */
const lifecycle = new Set(["signal", "exit", "start", "alive", "tmpfiles"]);

/**
 * Cases with the same key may run against one server, one after the other; null: this one needs a server of its own,
 * because it is about the server itself, or because of what its predictor or its flags keep.
 */
export function sharingKey({ stateless }: Collection, { fixture, server, steps }: Case): string | null {
  if (server === null || server.wait_for !== "READY" || !stateless.has(fixture)) return null;
  if (steps.some(({ op, path }) => lifecycle.has(op) || path === "/shutdown")) return null;
  const key = JSON.stringify([fixture, server.env, server.flags]);
  // The helpers' addresses are another case's tomorrow.
  return key.includes("{{") ? null : key;
}

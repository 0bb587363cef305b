import { createHash } from "node:crypto";
import { checkpointBytes, parsedJson } from "./files.ts";
import type { Identity } from "./identity.ts";
import { damaged } from "./refusal.ts";

export const stateName = "state.json";
const format = 1;
const mostBytes = 4 * 2 ** 20;
const mostValues = 100_000;

/** What a checkpoint holds beside tensors and the history of its run. */
export interface CheckpointState {
  readonly format: typeof format;
  /** The package's. */
  readonly version: string;
  /** ISO 8601, UTC. */
  readonly created: string;
  /** Optimiser steps that are done, and those of the whole run. */
  readonly step: number;
  readonly steps: number;
  readonly identity: Identity;
  /** Of examples, settings as the run uses them, the base's shape and where the adapter began: agreementOf. */
  readonly agreement: string;
  /** Micro-batches so far of each rank. */
  readonly microBatches: readonly number[];
  readonly tokens: number;
  readonly seconds: number;
  /** The adapter with the lowest validation loss; `isCurrent`: it is the checkpoint's own. */
  readonly best: { readonly step: number; readonly loss: number; readonly isCurrent: boolean } | null;
  readonly optimizer: { readonly steps: number; readonly lossScale: number; readonly steadySteps: number };
  /** SHA-256 of every other file, by its name. */
  readonly files: Readonly<Record<string, string>>;
}

export function encodeState(state: CheckpointState): string {
  return `${JSON.stringify({ ...state, digest: digestOf(state) }, null, 1)}\n`;
}

function digestOf(state: object): string {
  return createHash("sha256").update(JSON.stringify(state)).digest("hex");
}

/** @param name the checkpoint's in messages. @throws TRAINING_CHECKPOINT naming file and field */
export async function readState(folder: string, name: string): Promise<CheckpointState> {
  const place = `${name}/${stateName}`;
  const bytes = await checkpointBytes({ folder, file: stateName, place }, mostBytes);
  return parseState(bytes.toString("utf8"), place);
}

/** @throws TRAINING_CHECKPOINT naming file and field */
export function parseState(text: string, place: string): CheckpointState {
  const value = parsedJson(text, place, mostValues);
  const root = new Fields(value, place);
  if (root.value("format") !== format) {
    const found = JSON.stringify(root.value("format"))?.slice(0, 40);
    throw damaged(place, `has format ${found}, this version reads ${format}`);
  }
  const { digest, ...state } = value as Record<string, unknown>;
  if (digest !== digestOf(state)) throw damaged(place, "does not agree with its digest");
  const identity = root.object("identity");
  for (const name of ["base", "engine", "fingerprint", "rows"]) identity.text(name);
  identity.count("ranks", 1);
  identity.object("settings");
  if (!identity.list("given").every((name) => typeof name === "string")) throw identity.wrong("given", "names");
  for (const name of ["version", "created", "agreement"]) root.text(name);
  const steps = root.count("steps", 1);
  const step = root.count("step", 0);
  if (step > steps) throw root.wrong("step", `at most ${steps}`);
  for (const name of ["tokens", "seconds"]) root.amount(name);
  const microBatches = root.list("microBatches");
  if (microBatches.length !== identity.value("ranks") || !microBatches.every(isCount)) {
    throw root.wrong("microBatches", "a count for each rank");
  }
  if (root.value("best") !== null) {
    const best = root.object("best");
    if (best.count("step", 1) > step) throw best.wrong("step", `at most ${step}`);
    best.amount("loss");
    if (typeof best.value("isCurrent") !== "boolean") throw best.wrong("isCurrent", "true or false");
  }
  const optimizer = root.object("optimizer");
  for (const name of ["steps", "steadySteps"]) optimizer.count(name, 0);
  optimizer.amount("lossScale");
  const files = root.object("files");
  for (const name of files.names) {
    if (!/^[\w.-]{1,80}$/.test(name) || !/^[0-9a-f]{64}$/.test(files.text(name))) throw files.wrong(name, "a digest");
  }
  return value as CheckpointState;
}

const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;

/** An object from outside, field by field. */
class Fields {
  readonly #value: Record<string, unknown>;
  readonly #place: string;

  constructor(value: unknown, place: string) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) throw damaged(place, "holds no object");
    this.#value = value as Record<string, unknown>;
    this.#place = place;
  }

  get names(): string[] {
    return Object.keys(this.#value);
  }

  value(name: string): unknown {
    return Object.hasOwn(this.#value, name) ? this.#value[name] : undefined;
  }

  object(name: string): Fields {
    return new Fields(this.value(name), `${this.#place}: field "${name}"`);
  }

  text(name: string): string {
    const value = this.value(name);
    if (typeof value !== "string") throw this.wrong(name, "a text");
    return value;
  }

  count(name: string, least: number): number {
    const value = this.value(name);
    if (!isCount(value) || (value as number) < least) throw this.wrong(name, `an integer from ${least}`);
    return value as number;
  }

  amount(name: string): number {
    const value = this.value(name);
    if (typeof value !== "number" || !(value >= 0)) throw this.wrong(name, "a number from 0");
    return value;
  }

  list(name: string): readonly unknown[] {
    const value = this.value(name);
    if (!Array.isArray(value)) throw this.wrong(name, "a list");
    return value;
  }

  wrong(name: string, what: string): Error {
    return damaged(this.#place, `field "${name}" is not ${what}`);
  }
}

import { createHash } from "node:crypto";
import type { EngineModel, Ranks } from "../../engine/engine.ts";
import { hashRows } from "../dataset/hash-rows.ts";
import type { Row } from "../dataset/row.ts";
import type { Given } from "../plan.ts";
import type { TrainingSettings } from "../settings.ts";

/** Settings that a checkpoint keeps: a template's file is kept as the file that adapters have beside them. */
export type KeptSettings = Omit<TrainingSettings, "prompt_template">;

/** What must be the same for a run to go on. */
export interface Identity {
  /** The base's name, for messages; its fingerprint says whether it is the same. */
  readonly base: string;
  /** For messages. */
  readonly engine: string;
  /** Of the base's scores, bit for bit: another model, device or instruction set has another one. */
  readonly fingerprint: string;
  readonly ranks: number;
  /** Of the rows, in order. */
  readonly rows: string;
  /** As the run was asked for: defaults still to adapt. */
  readonly settings: KeptSettings;
  /** Those that were chosen, prompt_template and adapter among them. */
  readonly given: readonly string[];
}

/** Positions whose scores are taken. */
const scored = 8;

export interface Asked {
  readonly base: {
    readonly model: EngineModel;
    readonly name: string;
    readonly engine?: { readonly name: string; readonly description: string };
  };
  readonly rows: readonly Row[];
  readonly validationRows?: readonly Row[] | null | undefined;
  readonly ranks: Pick<Ranks, "size">;
  readonly settings: TrainingSettings;
  readonly given: Given;
  readonly signal?: AbortSignal | undefined;
}

export async function identityOf({
  base,
  rows,
  validationRows,
  ranks,
  settings,
  given,
  signal,
}: Asked): Promise<Identity> {
  const { prompt_template: _, ...settled } = settings;
  const kept = Object.fromEntries(Object.entries(settled).map(([name, value]) => [name, value ?? null]));
  const { vocabSize, maxPositionEmbeddings } = base.model.config;
  const tokens = Int32Array.from(
    { length: Math.min(scored, maxPositionEmbeddings) },
    (_, i) => (i * 7 + 1) % vocabSize,
  );
  const scores = await base.model.logits(tokens);
  const shape = JSON.stringify([base.engine?.name, base.model.config]);
  return {
    base: base.name,
    engine: base.engine?.description ?? "unknown",
    fingerprint: createHash("sha256").update(shape).update(scores).digest("hex"),
    ranks: ranks.size,
    rows: await rowsDigest([rows, validationRows ?? []], signal),
    settings: kept as unknown as KeptSettings,
    given: [...given].filter((name) => Object.hasOwn(settings, name) || name === "adapter"),
  };
}

async function rowsDigest(sets: readonly (readonly Row[])[], signal?: AbortSignal): Promise<string> {
  const hash = createHash("sha256");
  for (const rows of sets) {
    await hashRows(hash, rows, signal);
    hash.update("\n");
  }
  return hash.digest("hex");
}

/**
 * What keeps a run that was asked for now from going on with a checkpoint, in words; none: it can. Settings that are not
 * given now are the checkpoint's.
 */
export function differences(now: Identity, then: Identity): string[] {
  const found: string[] = [];
  if (now.rows !== then.rows) found.push("the data set has other rows");
  if (now.fingerprint !== then.fingerprint) {
    const [here, there] = [now, then].map(({ base, engine }) => `${base} on ${engine}`);
    found.push(`the base or the engine is another one (${here} here, ${there} there)`);
  }
  if (now.ranks !== then.ranks) found.push(`${now.ranks} ranks here, ${then.ranks} there`);
  if (now.given.includes("adapter") !== then.given.includes("adapter")) {
    found.push(
      `adapter is ${now.given.includes("adapter") ? "given here, and was not" : "not given here, and was"} there`,
    );
  }
  for (const name of now.given) {
    if (name === "adapter") continue;
    if (name === "prompt_template") {
      if (!then.given.includes(name)) found.push("prompt_template is given here, and was not there");
      continue;
    }
    const [here, there] = [now, then].map(({ settings }) => JSON.stringify(settings[name as keyof KeptSettings]));
    const [shownHere, shownThere] = [here, there].map((text) => (text ?? "not set").slice(0, 100));
    if (here !== there) found.push(`${name} is ${shownHere} here, ${shownThere} there`);
    else if (!then.given.includes(name)) found.push(`${name} is given here, and was left to adapt there`);
  }
  return found;
}

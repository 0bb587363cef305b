import { cpus } from "node:os";
import type { Ranks } from "../../engine/engine.ts";
import { packageVersion } from "../../engine/package-folder.ts";
import type { Row } from "../dataset/row.ts";
import { fileDigest, modelDigest, rowsDigest } from "./digests.ts";

/** What a run's record says beside its numbers: nothing of paths, hosts or users, and nothing that changes from run to run. */
export interface RunFacts {
  readonly base: {
    readonly name: string;
    /** Whether models are published under this name. */
    readonly isPublished: boolean;
    readonly sha256: string;
  };
  readonly data: {
    readonly rows: number;
    readonly fileSha256: string | null;
    readonly rowsSha256: string;
    /** Where they are a data set of their own. */
    readonly validation: { readonly rows: number; readonly rowsSha256: string } | null;
  };
  /** SHA-256 of the file that the run started from; null where it began anew, or with a folder. */
  readonly initialAdapter: string | null;
  readonly versions: { readonly package: string; readonly node: string };
  readonly hardware: { readonly engine: string; readonly processor: string; readonly ranks: number };
}

/** A loaded base, as Llama has it. */
interface KnownBase {
  readonly name: string;
  readonly engine: { readonly name: string; readonly description: string };
  readonly checkpoint: {
    readonly folder: string;
    readonly file: string | null;
    readonly publishedName: string | null;
  };
}

interface FactsOptions {
  readonly base: KnownBase;
  readonly rows: readonly Row[];
  /** The data set as it was given. */
  readonly file: string;
  readonly validationRows?: readonly Row[] | null;
  /** The adapter to start from, as it was given. */
  readonly adapter?: { readonly path: string } | null;
  readonly ranks: Pick<Ranks, "size">;
  readonly signal?: AbortSignal;
}

/** Reads what identifies base and data; throws the signal's reason. */
export async function factsOf(options: FactsOptions): Promise<RunFacts> {
  const { base, rows, file, validationRows, adapter, ranks, signal } = options;
  return {
    base: {
      name: base.name,
      isPublished: base.checkpoint.publishedName !== null,
      sha256: await modelDigest(base.checkpoint),
    },
    data: {
      rows: rows.length,
      fileSha256: await fileDigest(file, signal),
      rowsSha256: await rowsDigest(rows, signal),
      validation: validationRows
        ? { rows: validationRows.length, rowsSha256: await rowsDigest(validationRows, signal) }
        : null,
    },
    initialAdapter: adapter ? await fileDigest(adapter.path, signal) : null,
    versions: { package: packageVersion(), node: process.versions.node },
    hardware: {
      engine: `${base.engine.name}: ${base.engine.description}`,
      processor: cpus()[0]?.model.trim() ?? "",
      ranks: ranks.size,
    },
  };
}

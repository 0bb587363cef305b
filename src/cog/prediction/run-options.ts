import type { LocalWays } from "../files/input-files.ts";
import type { Fetch } from "../files/network.ts";
import type { Uploads } from "../files/uploads.ts";
import type { InputSchema } from "./input-schema.ts";
import type { Run } from "./run.ts";
import type { Audience } from "./run-events.ts";

export type Family = "predictions" | "trainings";

/** What a run has to do with the world around it. */
export interface RunOptions extends Audience {
  /** Unlike the id, chosen by us and unique. */
  readonly number: number;
  readonly family: Family;
  readonly input: Readonly<Record<string, unknown>>;
  /** Bytes of the request, without those of files. */
  readonly size: number;
  readonly context: Readonly<Record<string, string>>;
  readonly schema: InputSchema | null;
  /** The declared output is an array. */
  readonly isArrayOutput: boolean;
  /** The run's own folder, made when it is needed; `uploads` lie in it already. */
  readonly folder: string;
  /** Files that came inside the request. */
  readonly uploads: Uploads;
  readonly uploadUrl: string | null;
  readonly inputFetch: Fetch;
  /** What the process that started the server shares with it. */
  readonly local: LocalWays | null;
  readonly outputFetch: Fetch;
  readonly userAgent: string | null;
  readonly maxDownloadBytes: number;
  /** Bytes per second. */
  readonly leastDownloadSpeed: number;
  /** Called once, when the outcome is known and before anyone else hears of it. */
  readonly onEnd: (run: Run) => void;
}

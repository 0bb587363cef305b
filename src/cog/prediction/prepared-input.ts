import { fetchInputFiles } from "../files/input-files.ts";
import type { Supervisor } from "../worker/supervisor.ts";
import type { Cancellation } from "./cancellation.ts";
import type { RunEvents } from "./run-events.ts";
import type { RunOptions } from "./run-options.ts";

type Options = Pick<
  RunOptions,
  | "input"
  | "schema"
  | "folder"
  | "inputFetch"
  | "local"
  | "uploads"
  | "userAgent"
  | "maxDownloadBytes"
  | "leastDownloadSpeed"
>;

/** What the author's function is given; `names`: what the client calls the files, by path. */
export interface PreparedInput {
  readonly input: Readonly<Record<string, unknown>>;
  readonly names: Readonly<Record<string, string>>;
}

/** Does this input name files? */
export function hasFiles({ input, schema }: Options): boolean {
  return schema?.fileFields.some((field) => (input[field] ?? null) !== null) ?? false;
}

/**
 * Waits for the worker's setup, then brings the input's files into the run's folder.
 * @throws when there is no worker, a file cannot be had, or the run is canceled meanwhile
 */
export async function preparedInput(
  options: Options,
  supervisor: Supervisor,
  events: RunEvents,
  cancellation: Cancellation,
): Promise<PreparedInput> {
  const { input, schema, folder, inputFetch, local, uploads, userAgent, maxDownloadBytes, leastDownloadSpeed } =
    options;
  const state = await cancellation.interrupt(supervisor.settled());
  if (state !== "ready") throw new Error(`setup failed: ${supervisor.setup.record.logs}`);
  events.started();
  if (!hasFiles(options)) return { input, names: {} };
  const files = await fetchInputFiles(input, schema!.fileFields, {
    folder: `${folder}/inputs`,
    fetch: inputFetch,
    local,
    uploads,
    userAgent,
    maxBytes: maxDownloadBytes,
    leastSpeed: { bytesPerSecond: leastDownloadSpeed },
    signal: cancellation.signal,
  });
  cancellation.signal.throwIfAborted();
  if (supervisor.state !== "ready") throw new Error("the process that runs the model is not there");
  return files;
}

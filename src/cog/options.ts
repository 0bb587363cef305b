import { parseArgs } from "node:util";
import type { ServeOptions } from "./serve.ts";
import { isWhole } from "./variables.ts";

export type ServeCommand =
  | { readonly action: "serve"; readonly options: ServeOptions }
  | { readonly action: "version" }
  | { readonly action: "usage"; readonly message: string };

export const serveUsage = `usage: server [--host HOST] [-p PORT | --port PORT] [--upload-url URL] [--x-mode predict|train]
              [--await-explicit-shutdown VALUE] [--threads N] [-v | --version]
`;

/** Reads the flags of Cog's server entry point; `--port` is ours, and wins over PORT. */
export function parseServeOptions(argv: readonly string[], env: NodeJS.ProcessEnv): ServeCommand {
  let values: Record<string, string | boolean | undefined>;
  try {
    values = parseArgs({
      args: [...argv],
      strict: true,
      allowPositionals: false,
      options: {
        host: { type: "string" },
        port: { type: "string", short: "p" },
        "upload-url": { type: "string" },
        "x-mode": { type: "string" },
        "await-explicit-shutdown": { type: "string" },
        threads: { type: "string" },
        version: { type: "boolean", short: "v" },
      },
    }).values;
  } catch (error) {
    return { action: "usage", message: (error as Error).message };
  }
  if (values.version) return { action: "version" };
  const mode = values["x-mode"] ?? "predict";
  if (mode !== "predict" && mode !== "train") return { action: "usage", message: `--x-mode: ${mode} is no mode` };
  const port = values.port as string | undefined;
  if (port !== undefined && !isWhole(port, 0, 65_535)) {
    return { action: "usage", message: `--port must be a whole number from 0 to 65535, not ${JSON.stringify(port)}` };
  }
  return {
    action: "serve",
    options: {
      mode,
      ...(port === undefined ? {} : { port: Number(port) }),
      host: (values.host as string | undefined) || "0.0.0.0",
      uploadUrl: (values["upload-url"] as string | undefined) || null,
      // As upstream: any value that is not empty, "false" included.
      awaitExplicitShutdown: Boolean(values["await-explicit-shutdown"]),
      env,
    },
  };
}

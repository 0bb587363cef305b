import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePort } from "../../scripts/free-port.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** A test that fails half way must not leave a server behind. */
const running = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** The server runs from dist/, as it does for users. */
export function buildDist(): void {
  execFileSync(process.execPath, [join(root, "scripts", "build-dist.mjs")], { cwd: root, stdio: "inherit" });
}

export interface ServerProcess {
  readonly url: string;
  readonly child: ChildProcess;
  /** Its temporary directory; empty when nothing has been left behind. */
  readonly tempDir: string;
  /** What it wrote to standard error so far. */
  log(): string;
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  health(): Promise<Record<string, unknown>>;
  /** Polls until the status is one of these. */
  until(...statuses: string[]): Promise<Record<string, unknown>>;
  /** Ends it without ceremony. */
  kill(): Promise<void>;
}

export interface ServerProcessOptions {
  /** The project's folder. */
  dir: string;
  /** null removes a variable. */
  env?: Record<string, string | null>;
  flags?: readonly string[];
  /** Another program than our server. */
  command?: readonly [string, ...string[]];
  /** Where standard error goes instead. */
  logFile?: string;
}

/** Starts the real server as a process of its own, on a free port. */
export async function startServerProcess(options: ServerProcessOptions): Promise<ServerProcess> {
  const { dir, env = {}, flags = [], logFile } = options;
  const [program, ...words] = options.command ?? [process.execPath, join(root, "dist", "cog", "server.js")];
  const port = env.PORT ?? String(await freePort());
  const tempDir = mkdtempSync(join(tmpdir(), "cog-test-"));
  const variables: NodeJS.ProcessEnv = { ...process.env, PORT: port, TMPDIR: tempDir, LOG_FORMAT: "console" };
  for (const [name, value] of Object.entries({ COG_ALLOW_PRIVATE_NETWORK: "1", ...env })) {
    if (value === null) delete variables[name];
    else variables[name] = value;
  }
  const child = spawn(program, [...words, "--host", "127.0.0.1", ...flags], {
    cwd: dir,
    env: variables,
    stdio: ["ignore", "ignore", logFile === undefined ? "pipe" : openSync(logFile, "w")],
  });
  running.add(child);
  let log = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    log += text;
  });
  const exited = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.on("exit", (code, signal) => resolve({ code, signal }));
  });
  let isGone = false;
  void exited.then(() => {
    isGone = true;
  });
  const url = `http://127.0.0.1:${port}`;
  const health = async () => (await (await fetch(`${url}/health-check`)).json()) as Record<string, unknown>;
  const server: ServerProcess = {
    url,
    child,
    tempDir,
    exited,
    log: () => log,
    health,
    async until(...statuses) {
      const end = performance.now() + 60_000;
      for (;;) {
        const body = await health().catch(() => null);
        if (body !== null && (statuses.length === 0 || statuses.includes(body.status as string))) return body;
        if (isGone) throw new Error(`the server has ended:\n${log}`);
        if (performance.now() > end || body?.status === "SETUP_FAILED")
          throw new Error(`${JSON.stringify(body)} instead of ${statuses}:\n${log}`);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    },
    async kill() {
      running.delete(child);
      child.kill("SIGKILL");
      await exited;
      rmSync(tempDir, { recursive: true, force: true });
    },
  };
  return server;
}

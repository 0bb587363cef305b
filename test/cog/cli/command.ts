import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "..", "..", "..");
const script = join(root, "scripts", "cog.mjs");
export const shim = join(root, "deploy", "python");
const fixtures = join(import.meta.dirname, "fixtures");

/** The command runs from dist/, as users have it: makes sure that dist/ is what the sources say. */
export function buildCommand(): void {
  const { status } = spawnSync(process.execPath, [join(root, "scripts", "build-dist.mjs")], {
    cwd: root,
    stdio: "inherit",
  });
  if (status !== 0) throw new Error("scripts/build-dist.mjs failed");
}

export interface Result {
  exit: number | null;
  stdout: string;
  stderr: string;
}

/** A copy of a fixture project in a folder of its own, and the command in it. */
export class ProjectFolder {
  readonly path: string;
  readonly script = script;
  readonly root = root;
  readonly #before: Set<string>;

  constructor(fixture: string | undefined, files: Record<string, string> = {}) {
    this.path = mkdtempSync(join(tmpdir(), "cog-command-"));
    if (fixture !== undefined) cpSync(join(fixtures, fixture), this.path, { recursive: true });
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(join(this.path, name.endsWith("/") ? name : dirname(name)), { recursive: true });
      if (!name.endsWith("/")) writeFileSync(join(this.path, name), text);
    }
    this.#before = new Set(this.#files());
  }

  /** Starts the command with its standard output and error as pipes (no terminal). */
  start(words: readonly string[], env: Record<string, string> = {}, stdin: "ignore" | "pipe" = "ignore"): ChildProcess {
    return spawn(process.execPath, [script, ...words], {
      cwd: this.path,
      env: { ...process.env, ...env },
      stdio: [stdin, "pipe", "pipe"],
    });
  }

  /** Starts the server as an image does. */
  startShim(words: readonly string[], env: Record<string, string>): ChildProcess {
    return spawn("sh", [shim, ...words], {
      cwd: this.path,
      env: { ...process.env, COG_APP_DIR: root, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
  }

  async run(words: readonly string[], options: { env?: Record<string, string>; stdin?: string } = {}): Promise<Result> {
    const child = this.start(words, options.env, options.stdin === undefined ? "ignore" : "pipe");
    child.stdin?.end(options.stdin);
    return resultOf(child);
  }

  read(name: string): Buffer {
    return readFileSync(join(this.path, name));
  }

  /** Files that were not there at the start. */
  written(): string[] {
    return this.#files()
      .filter((name) => !this.#before.has(name))
      .sort();
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }

  #files(): string[] {
    return readdirSync(this.path, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(this.path.length + 1));
  }
}

export function resultOf(child: ChildProcess): Promise<Result> {
  let stdout = "";
  let stderr = "";
  child.stdout!.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr!.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  return new Promise((resolve) => child.on("close", (exit) => resolve({ exit, stdout, stderr })));
}

/** The line of a message: the last one that is not blank. */
export function lastLine(text: string): string {
  return text.trimEnd().split("\n").at(-1)!;
}

/** The address that a server prints when its port is open. */
export function addressOf(server: ChildProcess): Promise<string> {
  let text = "";
  return new Promise((resolve, reject) => {
    server.on("close", () => reject(new Error(`the server ended: ${text}`)));
    server.stderr!.on("data", (chunk: string) => {
      text += chunk;
      const port = /listening on \S+:(\d+)/i.exec(text)?.[1];
      if (port) resolve(`http://127.0.0.1:${port}`);
    });
  });
}

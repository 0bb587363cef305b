import { spawnSync } from "node:child_process";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { buildDist } from "./server-process.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const cwd = fileURLToPath(new URL("fixtures/steps", import.meta.url));
const commands = {
  "cog serve": [join(root, "scripts", "cog.mjs"), "serve"],
  "the server's entry point": [join(root, "dist", "cog", "server.js")],
};
let other: Server;
let taken: string;

beforeAll(async () => {
  buildDist();
  other = createServer();
  await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
  taken = String((other.address() as { port: number }).port);
});
afterAll(() => other.close());

describe.each(Object.entries(commands))("an address that cannot be had, given to %s", (_name, words) => {
  const start = (flags: string[], env: Record<string, string> = {}) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [...words, ...flags], {
      cwd,
      encoding: "utf8",
      env: { ...process.env, LOG_FORMAT: "console", ...env },
      timeout: 60_000,
    });
    return { status, stdout, text: stderr.replace(/^error: \[LISTEN_FAILED\] |^error \[LISTEN_FAILED\]: /, "CODE ") };
  };
  const inUse = "stop what listens there, or give another port with --port or PORT";
  const another = "give one with --host; 0.0.0.0 listens on all";

  it("ends it with one message: a port in use", () => {
    for (const [flags, env] of [
      [["--port", taken], {}],
      [[], { PORT: taken }],
    ] as const) {
      const { status, stdout, text } = start([...flags, "--host", "127.0.0.1"], env);
      expect([status, stdout]).toEqual([1, ""]);
      expect(text).toMatch(new RegExp(`^CODE port ${taken} of 127\\.0\\.0\\.1 is in use\\n(hint: )?${inUse}\\n$`));
    }
  });

  it("ends it with one message: an address of another machine", () => {
    const { status, stdout, text } = start(["--port", "0", "--host", "192.0.2.1"]);
    expect([status, stdout]).toEqual([1, ""]);
    expect(text).toMatch(new RegExp(`^CODE 192\\.0\\.2\\.1 is no address of this machine\\n(hint: )?${another}\\n$`));
  });

  it("ends it with one message: a host that is none", () => {
    const { status, stdout, text } = start(["--port", "0", "--host", "no host.invalid"]);
    expect([status, stdout]).toEqual([1, ""]);
    expect(text).toMatch(/^CODE the host no host\.invalid cannot be resolved\n/);
    expect(text.split("\n")).toHaveLength(3);
  });

  it("ends it with one message: a port that is no number", () => {
    for (const port of ["abc", "-1", "65536", "80.5", ""]) {
      const { status, text } = start([`--port=${port}`]);
      expect(status).toBeGreaterThan(0);
      expect(text).toContain(`--port must be a whole number from 0 to 65535, not "${port}"`);
      expect(text).not.toContain("    at ");
    }
  });
});

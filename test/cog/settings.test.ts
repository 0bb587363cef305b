import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, it } from "vitest";
import { readSettings, type Settings } from "../../src/cog/settings.ts";
import { buildDist, startServerProcess } from "./server-process.ts";

/** Variables in the first column of the tables. */
function documented(file: string): string[] {
  const text = readFileSync(new URL(`../../docs/${file}`, import.meta.url), "utf8");
  return [...text.matchAll(/^\| (`[A-Z][A-Z_]+`(?:, `[A-Z_]+`)*) \|/gm)].flatMap(([, cell]) =>
    [...cell!.matchAll(/`([A-Z_]+)`/g)].map(([, name]) => name!),
  );
}

function problem(env: NodeJS.ProcessEnv): string {
  try {
    readSettings(env);
  } catch (error) {
    const { code, message } = error as { code: string; message: string };
    return `[${code}] ${message}`;
  }
  return "";
}

/** Any text will do, or readers of their own look at it: of cog.yaml, of proxies, and the trainer. */
const anything = [
  "COG_WEIGHTS",
  "COG_OUTPUT_DIR",
  "LLAMA_CHECKPOINTS",
  "COG_LIVE_METRICS",
  "RUST_LOG",
  "KUBERNETES_SERVICE_HOST",
  "COG_PREDICT_TYPE_STUB",
  "COG_TRAIN_TYPE_STUB",
  "HTTP_PROXY",
  "HTTPS_PROXY",
  "NO_PROXY",
];
/** As Cog: a warning, and its own reading. */
const lenient = ["COG_MAX_CONCURRENCY", "COG_SETUP_TIMEOUT"];
const variables = [...documented("operate.md"), ...documented("secure.md")];

describe("the variables of docs/operate.md and docs/secure.md", () => {
  it("are found there", () => {
    for (const name of [...anything, ...lenient, "PORT", "COG_AUTH_TOKEN"])
      expect([...variables, "COG_AUTH_TOKEN"]).toContain(name);
    expect(variables.length).toBeGreaterThan(18);
  });

  it.each([...variables, "COG_AUTH_TOKEN"].filter((name) => ![...anything, ...lenient].includes(name)))(
    "%s with a value that makes no sense stops the start by name",
    (name) => {
      expect(problem({ [name]: "\u0001 x" })).toMatch(new RegExp(`^\\[SERVER_SETTINGS\\] ${name}\\b.* must be `));
    },
  );

  it.each(lenient)("%s is read as Cog reads it, with a warning by name", (name) => {
    for (const value of ["x", "-1", "1.5", "99999999999999999999"]) {
      const { maxConcurrency, setupTimeoutMs, warnings } = readSettings({ [name]: value });
      expect(name === "COG_SETUP_TIMEOUT" ? setupTimeoutMs : maxConcurrency).toBe(
        name === "COG_SETUP_TIMEOUT" ? null : 1,
      );
      expect(warnings).toEqual([expect.stringContaining(`${name}="${value}" `)]);
    }
  });

  it("are all unset where they are empty, but for the token that guards the server", () => {
    const { warnings: _, ...plain } = readSettings({});
    const names = variables.filter((name) => name !== "KUBERNETES_SERVICE_HOST" && name !== "COG_AUTH_TOKEN");
    expect(readSettings(Object.fromEntries(names.map((name) => [name, ""])))).toMatchObject(plain);
    expect(problem({ COG_AUTH_TOKEN: "" })).toBe(
      "[SERVER_SETTINGS] COG_AUTH_TOKEN is empty: give it a value or unset it",
    );
  });
});

describe("a setting", () => {
  const wrong: [name: string, values: string[], allowed: string][] = [
    ["PORT", ["abc", "-1", "65536", "80.5", "0x50", " 80", "tcp://10.0.0.1:80"], "a whole number from 0 to 65535"],
    ["COG_QUEUE_LENGTH", ["x", "-1", "1.5", "10001", "1e3"], "a whole number from 0 to 10000"],
    ["COG_STREAM_HISTORY_CAPACITY", ["many", "-1", "9007199254740993"], "a whole number from 0"],
    ["COG_MAX_DOWNLOAD_BYTES", ["64GB", "0", "-5"], "a whole number from 1"],
    ["COG_MAX_WEBHOOKS", ["0", "all", "10001"], "a whole number from 1 to 10000"],
    ["COG_WEBHOOK_MEMORY", ["64MB", "1048575"], "a whole number from 1048576"],
    ["COG_THROTTLE_RESPONSE_INTERVAL", ["fast", "-0.5", "1s", "."], "a number of seconds from 0 to 2147483"],
    ["COG_SHUTDOWN_GRACE", ["soon", "-1", "2147484"], "a number of seconds from 0 to 2147483"],
    ["COG_HEADER_TIMEOUT", ["0", "never"], "a number of seconds from 0.1 to 2147483"],
    ["COG_LOG_LEVEL", ["loud", "critical"], "one of debug, info, warn, warning, error"],
    ["LOG_FORMAT", ["xml", "text"], "one of json, console"],
    ["COG_ALLOW_PRIVATE_NETWORK", ["true", "yes"], "one of 1, 0"],
    ["COG_USER_AGENT", ["a\nb", "ä"], "printable ASCII without blanks at its ends"],
  ];
  it.each(wrong)("%s is refused with its value and what is allowed", (name, values, allowed) => {
    for (const value of values) {
      expect(problem({ [name]: value })).toBe(`[SERVER_SETTINGS] ${name}=${JSON.stringify(value)} must be ${allowed}`);
    }
  });

  it("that is a secret is refused without its value", () => {
    for (const name of ["COG_AUTH_TOKEN", "WEBHOOK_AUTH_TOKEN"]) {
      for (const value of ["t0ken\n", " t0ken", "t0\u0000ken"]) {
        expect(problem({ [name]: value })).toBe(
          `[SERVER_SETTINGS] ${name} must be printable ASCII without blanks at its ends`,
        );
      }
    }
  });

  it.each(["nonsense", "https://a.example/hook", "ftp://a.example", "https://a.example,,", ","])(
    "of allowed origins is refused: %s",
    (list) => {
      expect(problem({ WEBHOOK_ALLOWED_ORIGINS: list })).toMatch(
        /^\[SERVER_SETTINGS\] WEBHOOK_ALLOWED_ORIGINS: ".*" must be an origin/,
      );
    },
  );

  const right: [env: Record<string, string>, Partial<Settings>][] = [
    [
      { PORT: "0", COG_QUEUE_LENGTH: "10000" },
      { port: 0, queueLength: 10_000 },
    ],
    [
      { COG_THROTTLE_RESPONSE_INTERVAL: ".25", COG_SHUTDOWN_GRACE: "0" },
      { webhookIntervalMs: 250, shutdownGraceMs: 0 },
    ],
    [{ COG_LOG_LEVEL: "WARNING", LOG_FORMAT: "console" }, { log: { level: "warn", format: "console" } }],
    [{ COG_LOG_LEVEL: "error", RUST_LOG: "hyper=debug" }, { log: { level: "error", format: "json" } }],
    [{ COG_LOG_LEVEL: "error", RUST_LOG: "trace,hyper=off" }, { log: { level: "debug", format: "json" } }],
    [
      { COG_SETUP_TIMEOUT: "90", COG_MAX_CONCURRENCY: "4" },
      { setupTimeoutMs: 90_000, maxConcurrency: 4 },
    ],
    [
      { COG_SETUP_TIMEOUT: "0", COG_ALLOW_PRIVATE_NETWORK: "1" },
      { setupTimeoutMs: null, allowPrivateNetwork: true },
    ],
    [
      { WEBHOOK_ALLOWED_ORIGINS: " https://a.example/, http://b.example:8080" },
      { webhookOrigins: new Set(["https://a.example", "http://b.example:8080"]) },
    ],
  ];
  it.each(right)("that makes sense is taken: %j", (env, expected) => {
    expect(readSettings(env)).toMatchObject({ ...expected, warnings: [] });
  });
});

describe("a server whose settings are wrong", () => {
  beforeAll(buildDist);
  const dir = fileURLToPath(new URL("fixtures/steps", import.meta.url));

  it("names all of them, and ends", async () => {
    const server = await startServerProcess({ dir, env: { PORT: "abc", COG_QUEUE_LENGTH: "x", LOG_FORMAT: "xml" } });
    expect(await server.exited).toEqual({ code: 1, signal: null });
    expect(server.log()).toBe(
      'error: [SERVER_SETTINGS] PORT="abc" must be a whole number from 0 to 65535; LOG_FORMAT="xml" must be one of json, console; ' +
        'COG_QUEUE_LENGTH="x" must be a whole number from 0 to 10000\n' +
        "hint: correct or unset what is named; docs/operate.md lists every variable\n",
    );
    await server.kill();
  });

  it.each(["HTTP_PROXY", "HTTPS_PROXY"])("names %s, which is read apart", async (name) => {
    const server = await startServerProcess({
      dir,
      env: { [name]: "ftp://proxy.example", [name.toLowerCase()]: null },
    });
    expect((await server.exited).code).toBe(1);
    expect(server.log()).toMatch(new RegExp(`^error: \\[PROXY_INVALID\\] .*${name}`));
    await server.kill();
  });

  it("names those that cog.yaml sets, which the real environment wins over", async () => {
    const project = mkdtempSync(join(tmpdir(), "cog-settings-"));
    writeFileSync(
      join(project, "cog.yaml"),
      "predict: predict.ts\nenvironment: [COG_QUEUE_LENGTH=x, COG_SHUTDOWN_GRACE=soon]\n",
    );
    const server = await startServerProcess({ dir: project, env: { COG_SHUTDOWN_GRACE: "1" } });
    expect((await server.exited).code).toBe(1);
    expect(server.log()).toMatch(/^error: \[SERVER_SETTINGS\] COG_QUEUE_LENGTH="x" must be [^;]*\n/);
    await server.kill();
    rmSync(project, { recursive: true });
  });

  it("does not look at PORT where --port wins", async () => {
    const server = await startServerProcess({ dir, env: { PORT: "abc" }, flags: ["--port", "0"] });
    await expect.poll(() => server.log(), { timeout: 20_000 }).toMatch(/listening on 127\.0\.0\.1:\d+\n/);
    await server.kill();
  });
});

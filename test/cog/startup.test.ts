import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { LogOutput } from "../../src/cog/log-output.ts";
import { type RunningServer, type ServeOptions, startServer } from "../../src/cog/serve.ts";
import { buildDist } from "./server-process.ts";

const projectDir = fileURLToPath(new URL("fixtures/startup", import.meta.url));
let server: RunningServer;

async function start(env: Record<string, string>, options: ServeOptions = {}): Promise<RunningServer> {
  server = await startServer({
    projectDir,
    host: "127.0.0.1",
    port: 0,
    authorLogOnly: true,
    env: { ...process.env, LOG_FORMAT: "console", ...env },
    ...options,
  });
  return server;
}

async function untilFailed(): Promise<string> {
  return vi.waitUntil(async () => {
    const health = (await (await fetch(`${server.url}/health-check`)).json()) as {
      status: string;
      setup: { logs?: string };
    };
    return health.status === "SETUP_FAILED" && String(health.setup.logs);
  }, 30_000) as Promise<string>;
}

describe("the document of a server", () => {
  beforeAll(buildDist);
  afterEach(async () => {
    vi.restoreAllMocks();
    await server.close({ abort: true });
  });

  it("is there while setup is still going on, for the one who started it alone", async () => {
    const { url, document } = await start({});
    expect((await document).components!.schemas!.Input).toMatchObject({ required: ["prompt"] });
    expect(await (await fetch(`${url}/health-check`)).json()).toMatchObject({ status: "STARTING" });
    expect((await fetch(`${url}/openapi.json`)).status).toBe(503);
  });

  it("is there although setup fails, which a command's server leaves to the command to tell", async () => {
    const written = vi.spyOn(LogOutput.prototype, "write");
    const { document } = await start({ BROKEN: "setup" });
    expect((await document).info.title).toBeTypeOf("string");
    expect(await untilFailed()).toContain("the weights are broken");
    expect(written).not.toHaveBeenCalled();
  });

  it("is there before setup has begun, for the one who holds it", async () => {
    const { url, document, beginSetup } = await start({ BROKEN: "setup" }, { holdSetup: true });
    await document;
    await sleep(300);
    expect(await (await fetch(`${url}/health-check`)).json()).toMatchObject({ status: "STARTING" });
    beginSetup();
    expect(await untilFailed()).toContain("the weights are broken");
  });

  it("is refused with the stack of a module that throws", async () => {
    await expect((await start({ BROKEN: "module" })).document).rejects.toThrow(/the module is broken\n.*predict\.ts/s);
  });

  it("is refused with the code of a declaration that is not possible", async () => {
    await expect((await start({ COG_PREDICT_TYPE_STUB: "absent.ts" })).document).rejects.toMatchObject({
      code: "PREDICTOR_INVALID",
    });
  });

  it("is not needed: without anyone who waits, a broken module stops nothing", async () => {
    await start({ BROKEN: "module" });
    expect(await untilFailed()).toContain("the module is broken");
  });
});

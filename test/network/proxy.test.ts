import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { request } from "undici";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createFetch } from "../../src/cog/files/network.ts";
import { isPublicAddress } from "../../src/cog/files/public-address.ts";
import { download } from "../../src/llama/adapter/download.ts";
import { connections } from "../../src/network/proxy.ts";
import { buildCommand, ProjectFolder } from "../cog/cli/command.ts";
import { Receiver } from "../cog/receiver.ts";
import { startServerProcess } from "../cog/server-process.ts";
import { ProxyServer } from "./proxy-server.ts";

let origin: Receiver;
let proxy: ProxyServer;
beforeAll(async () => {
  buildCommand();
  origin = await Receiver.start(({ path, method }) => {
    if (path === "/slow") return { instead: "hang" };
    return method === "GET" ? { body: `content of ${path}` } : {};
  });
  proxy = await ProxyServer.start({ "files.test": Number(new URL(origin.url).port) });
});
afterAll(() => {
  proxy.close();
  return origin.close();
});
beforeEach(() => {
  proxy.asked.length = 0;
});

async function get(url: string, env: NodeJS.ProcessEnv): Promise<string> {
  const dispatcher = connections(env);
  try {
    return await (await request(url, { dispatcher })).body.text();
  } finally {
    await dispatcher.destroy();
  }
}

describe("the proxies of the environment", () => {
  it.each(["HTTP_PROXY", "http_proxy"])("%s is asked, and resolves the name", async (name) => {
    expect(await get("http://files.test/a?b", { [name]: proxy.url })).toBe("content of /a?b");
    expect(proxy.asked).toEqual(["GET http://files.test/a?b"]);
  });

  it("may be written without a scheme, as curl takes it", async () => {
    expect(await get("http://files.test/a", { HTTP_PROXY: new URL(proxy.url).host })).toBe("content of /a");
  });

  it("tunnel https", async () => {
    await expect(get("https://files.test/a", { HTTPS_PROXY: proxy.url })).rejects.toThrow();
    expect(proxy.asked).toEqual(["CONNECT files.test:443"]);
  });

  it.each(["files.test", ".test", "other.example, files.test", "*"])(
    "are not asked with NO_PROXY=%s",
    async (names) => {
      await expect(get("http://files.test/a", { HTTP_PROXY: proxy.url, NO_PROXY: names })).rejects.toThrow(
        /ENOTFOUND|EAI/,
      );
      expect(proxy.asked).toEqual([]);
    },
  );

  it("are not asked for this machine", async () => {
    expect(await get(`${origin.url}/a`, { HTTP_PROXY: proxy.url })).toBe("content of /a");
    expect(await get(origin.url.replace("127.0.0.1", "localhost"), { HTTP_PROXY: proxy.url })).toBe("content of /");
    expect(proxy.asked).toEqual([]);
  });

  it("keep the limit of silence", async () => {
    const fetch = createFetch({ isAllowed: isPublicAddress, env: { HTTP_PROXY: proxy.url }, silenceMs: 300 });
    await expect(fetch("http://files.test/slow", { method: "GET", headers: {} })).rejects.toThrow(/timeout/i);
    fetch.close();
  });

  it.each(["::", "ftp://proxy.test", "http://"])("that are no addresses are refused by name: %s", (text) => {
    expect(() => connections({ HTTPS_PROXY: text })).toThrow(
      expect.objectContaining({ code: "PROXY_INVALID", message: expect.stringContaining("HTTPS_PROXY") }),
    );
  });

  it("do not open the way to an address inside", async () => {
    const fetch = createFetch({ isAllowed: isPublicAddress, env: { HTTP_PROXY: proxy.url } });
    for (const url of ["http://169.254.169.254/latest", "http://10.0.0.1/", "http://localhost/", "http://127.0.0.1/"])
      await expect(fetch(url, { method: "GET", headers: {} })).rejects.toThrow(/is not a public address/);
    fetch.close();
    expect(proxy.asked).toEqual([]);
  });

  it("are asked by the download of an adapter", async () => {
    const folder = mkdtempSync(join(tmpdir(), "proxy-"));
    process.env.HTTP_PROXY = proxy.url;
    try {
      await download("http://files.test/adapter", join(folder, "adapter"), { name: "adapter", maxBytes: 1e6 });
      expect(readFileSync(join(folder, "adapter"), "utf8")).toBe("content of /adapter");
    } finally {
      delete process.env.HTTP_PROXY;
      rmSync(folder, { recursive: true });
    }
  });
});

describe("a server behind a proxy", () => {
  it("downloads, uploads and calls webhooks through it", async () => {
    const project = new ProjectFolder("fin", {
      "predict.ts": `import { definePredictor, Input, Output } from "llama-lora-cog/cog";
        export default definePredictor({ inputs: { f: Input.path() }, output: Output.path(), predict: ({ f }) => f });`,
    });
    const env = { HTTP_PROXY: proxy.url, COG_ALLOW_PRIVATE_NETWORK: null };
    const server = await startServerProcess({
      dir: project.path,
      env,
      flags: ["--upload-url", "http://files.test/up"],
    });
    try {
      await server.until("READY");
      const body = { input: { f: "http://files.test/x.txt" }, webhook: "http://files.test/hook" };
      const answer = await fetch(`${server.url}/predictions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body),
      });
      expect(await answer.json()).toMatchObject({ status: "succeeded" });
      await expect.poll(() => proxy.asked.some((line) => line.endsWith("/hook"))).toBe(true);
      expect(proxy.asked.map((line) => line.replace(/\/up\/.*/, "/up"))).toEqual(
        expect.arrayContaining([
          "GET http://files.test/x.txt",
          "PUT http://files.test/up",
          "POST http://files.test/hook",
        ]),
      );
    } finally {
      await server.kill();
      project.remove();
    }
  });
});

describe("the command behind a proxy", () => {
  it("reaches a server elsewhere through it, and its own without", async () => {
    const project = new ProjectFolder("echo");
    const server = await startServerProcess({ dir: project.path });
    const away = await ProxyServer.start({ "model.test": Number(new URL(server.url).port) });
    try {
      const there = await project.run(["predict", "http://model.test", "-i", "s=you"], {
        env: { HTTP_PROXY: away.url },
      });
      expect([there.stdout, there.exit]).toEqual(["hello you\n", 0]);
      expect(away.asked).toContain("POST http://model.test/predictions");
      away.asked.length = 0;
      const here = await project.run(["predict", "-i", "s=me"], { env: { HTTP_PROXY: away.url } });
      expect([here.stdout, here.stderr]).toEqual(["hello me\n", expect.not.stringContaining("Warning")]);
      expect(away.asked).toEqual([]);
    } finally {
      away.close();
      await server.kill();
      project.remove();
    }
  });
});

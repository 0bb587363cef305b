import { cpSync, mkdtempSync, rmSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { buildDist, type ServerProcess, startServerProcess } from "../cog/server-process.ts";
import { root, weights } from "./embedded-base.ts";

const folder = mkdtempSync(join(tmpdir(), "truncated-weights-"));
let server: ServerProcess;
beforeAll(async () => {
  buildDist();
  cpSync(weights, join(folder, "model"), { recursive: true });
  server = await startServerProcess({ dir: root, env: { LLAMA_DEVICE: "cpu", LLAMA_WEIGHTS: join(folder, "model") } });
  await server.until("READY");
});
afterAll(async () => {
  await server.kill();
  rmSync(folder, { recursive: true });
});

it("says that a weights file was cut short, where one is under a running server", async () => {
  truncateSync(join(folder, "model", "model.safetensors"));
  const answer = await fetch(`${server.url}/predictions`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ input: { prompt: "List three animals.", max_new_tokens: 4 } }),
  });
  const { status, error } = (await answer.json()) as { status: string; error: string };
  expect(status).toBe("failed");
  expect(error).toMatch(/WORKER_DIED.*SIGBUS: a file that it had mapped, such as a model's weights, was cut short/);
  await server.until("SETUP_FAILED");
  expect(server.log()).toContain("CHECKPOINT_CORRUPT");
});

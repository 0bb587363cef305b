import { afterAll, beforeAll, expect, it } from "vitest";
import { buildDist, type ServerProcess, startServerProcess } from "../cog/server-process.ts";
import { root } from "./embedded-base.ts";

let server: ServerProcess;
beforeAll(async () => {
  buildDist();
  server = await startServerProcess({ dir: root, env: { LLAMA_DEVICE: "cpu" } });
  await server.until("READY");
});
afterAll(() => server.kill());

async function predict(input: object): Promise<{ status: number; body: { status?: string; output?: string[] } }> {
  const headers = { "Content-Type": "application/json" };
  const body = JSON.stringify({ input });
  const response = await fetch(`${server.url}/predictions`, { method: "POST", headers, body });
  return { status: response.status, body: (await response.json()) as { status?: string; output?: string[] } };
}

const most = Number.MAX_SAFE_INTEGER;
const served: object[] = [
  { temperature: 0 },
  { temperature: 5 },
  { temperature: 1e-6 },
  { temperature: 1e-5 },
  { temperature: 1e-40 },
  { temperature: Number.MIN_VALUE },
  { temperature: 1e-5, repetition_penalty: 0.01 },
  { temperature: 5, repetition_penalty: 5 },
  { repetition_penalty: 0.01 },
  { top_p: 0 },
  { top_p: Number.MIN_VALUE },
  { top_k: most },
  { top_k: 1, top_p: 0, temperature: 1e-6 },
  { seed: 0 },
  { seed: most },
  { max_new_tokens: 1 },
  { max_new_tokens: 1e300, stop: ["e", "a", "i", "o", "."] },
  { stop: [""] },
  { stop: Array.from({ length: 64 }, (_, i) => `${i} no such text`.padEnd(1000, "é")) },
];
const refused: object[] = [
  { temperature: -1e-9 },
  { temperature: 5.001 },
  { repetition_penalty: 0 },
  { repetition_penalty: 0.0099 },
  { repetition_penalty: 5.001 },
  { top_p: 1.001 },
  { top_p: -1 },
  { top_k: 1e17 },
  { top_k: -1 },
  { top_k: 0.5 },
  { seed: 2 ** 60 },
  { seed: most + 1 },
  { seed: -1 },
  { max_new_tokens: 0 },
  { stop: Array.from({ length: 65 }, (_, i) => `no such text ${i}`) },
  { stop: ["x".repeat(1001)] },
];

it("serves or refuses with 422 every value of an input, and no other request fails by it", async () => {
  const victim = { prompt: "Tell me something about alpacas.", temperature: 1, seed: 7, max_new_tokens: 120 };
  const alone = (await predict(victim)).body.output;
  expect(alone?.join("")).not.toBe("");
  let isDone = false;
  const victims: unknown[] = [];
  const running = (async () => {
    while (!isDone) victims.push((await predict(victim)).body.output);
  })();
  for (const values of served) {
    const { status, body } = await predict({ prompt: "List three animals.", max_new_tokens: 20, ...values });
    expect({ values: JSON.stringify(values).slice(0, 99), status, ended: body.status }).toMatchObject({
      status: 200,
      ended: "succeeded",
    });
  }
  for (const values of refused) {
    const { status } = await predict({ prompt: "List three animals.", max_new_tokens: 20, ...values });
    expect({ values, status }).toEqual({ values, status: 422 });
  }
  isDone = true;
  await running;
  for (const output of victims) expect(output).toEqual(alone);
});

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { buildDist, type ServerProcess, startServerProcess } from "./server-process.ts";

const dir = fileURLToPath(new URL("fixtures/classifier", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "cog-classifier-"));
const words = join(folder, "words.json");
const dataset = "fruit: sweet red apple\nfruit: yellow banana\nanimal: the cat sleeps\nanimal: a dog barks\n";
const asFile = (text: string) => `data:text/plain;name=lines.txt;base64,${Buffer.from(text).toString("base64")}`;

let server: ServerProcess;
beforeAll(async () => {
  buildDist();
  server = await startServerProcess({ dir });
  await server.until("READY");
});
afterAll(async () => {
  await server?.kill();
  rmSync(folder, { recursive: true, force: true });
});

interface Answer {
  status: string;
  error?: string;
  output?: { label: string; probability: number };
  metrics: Record<string, unknown>;
}

async function post<T = Answer>({ url }: ServerProcess, path: string, input: object): Promise<T> {
  const headers = { "content-type": "application/json" };
  const body = JSON.stringify({ input });
  return (await (await fetch(url + path, { method: "POST", headers, body })).json()) as T;
}

describe("a model that is not LLaMA", () => {
  it("trains, and says which line of its file is wrong", async () => {
    const answer = await post<{ output: { weights: string; labels: string[] }; metrics: object; logs: string }>(
      server,
      "/trainings",
      { dataset: asFile(dataset) },
    );
    expect(answer).toMatchObject({ logs: "4 lines\n", metrics: { lines: 4 }, output: { labels: ["fruit", "animal"] } });
    writeFileSync(words, Buffer.from(answer.output.weights.split(",")[1]!, "base64"));
    expect(JSON.parse(readFileSync(words, "utf8")).fruit).toMatchObject({ apple: 1 });
    const { error } = await post(server, "/trainings", { dataset: asFile("fruit: apple\nnothing") });
    expect(error).toBe("lines.txt, line 2: no label. Write `label: text`");
  });

  it("predicts with what it has learnt, given with the request or from the start", async () => {
    expect((await post(server, "/predictions", { text: "x" })).error).toContain("nothing was learnt yet");
    const weights = asFile(readFileSync(words, "utf8"));
    const given = await post(server, "/predictions", { text: "the dog barks", weights });
    expect(given.output!.label).toBe("animal");
    expect(given.output!.probability).toBeGreaterThan(0.7);
    const trained = await startServerProcess({ dir, env: { COG_WEIGHTS: words } });
    await trained.until("READY");
    expect(await post(trained, "/predictions", { text: "a banana" })).toMatchObject({ output: { label: "fruit" } });
    await trained.kill();
  });

  it("publishes what it declares", async () => {
    const document = (await (await fetch(`${server.url}/openapi.json`)).json()) as {
      components: { schemas: Record<string, Record<string, unknown>> };
    };
    expect(document.components.schemas).toMatchObject({
      Input: {
        required: ["text"],
        properties: { text: { minLength: 1, title: "Text", "x-order": 0 }, weights: { format: "uri", nullable: true } },
      },
      Output: { required: ["label", "probability"], properties: { probability: { type: "number" } } },
      TrainingInput: {
        required: ["dataset"],
        properties: { dataset: { "x-cog-accept": "text/plain" }, rounds: { default: 1, minimum: 1, maximum: 10 } },
      },
    });
  });
});

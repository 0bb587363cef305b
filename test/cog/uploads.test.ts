import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Runs, startDesk } from "./endings.ts";
import type { Receiver } from "./receiver.ts";
import { buildDist, type ServerProcess, startServerProcess } from "./server-process.ts";

const dir = fileURLToPath(new URL("fixtures/endings", import.meta.url));
beforeAll(buildDist);

describe.for(["generator.ts", "scalar.ts"])("the files of a run (%s)", (stub) => {
  let desk: Receiver;
  let server: ServerProcess;
  let runs: Runs;
  beforeAll(async () => {
    desk = await startDesk();
    const env = { COG_PREDICT_TYPE_STUB: stub };
    server = await startServerProcess({ dir, env, flags: ["--upload-url", desk.url] });
    await server.until("READY");
    runs = new Runs(server, desk, "predictions");
  });
  afterAll(async () => {
    await server?.kill();
    desk?.close();
  });
  const uploads = () => desk.received.map(({ path }) => path).sort();

  it("are all uploaded although one is refused, which fails the run", async () => {
    const answer = await runs.post({ files: ["a1.txt", "refused.txt", "missing.txt", "a2.txt"] });
    expect(answer).toMatchObject({
      http: 200,
      status: "failed",
      error: expect.stringContaining("Failed to upload output: upload returned status 500"),
    });
    expect(uploads()).toEqual(["/a1.txt", "/a2.txt", "/refused.txt"]);
  });

  it("keep their order, whichever upload ends first", async () => {
    const files = ["slow.txt", "b1.txt", "b2.txt"];
    const answer = await runs.post({ files });
    expect(answer).toMatchObject({ status: "succeeded", output: files.map((name) => `${desk.url}/${name}`) });
  });

  it("are uploaded no more once the run is canceled", async () => {
    const before = desk.received.length;
    await runs.start("c", { files: ["hang-c.txt", ...Array.from({ length: 20 }, (_, index) => `hang-c${index}.txt`)] });
    await runs.atDesk("hang-c.txt");
    await runs.cancel("c");
    expect(await runs.over("c")).toMatchObject({ status: "canceled" });
    const sent = desk.received.length - before;
    expect(sent).toBeLessThan(21);
    expect(await runs.post({ files: ["d.txt"] })).toMatchObject({ status: "succeeded" });
    expect(desk.received.length).toBe(before + sent + 1);
  });
});

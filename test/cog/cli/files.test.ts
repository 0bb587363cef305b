import { execFileSync } from "node:child_process";
import { statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { list } from "tar";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { LocalFiles } from "../../../src/cog/files/local-files.ts";
import { Receiver, type ScriptedAnswer } from "../receiver.ts";
import { startServerProcess } from "../server-process.ts";
import { addressOf, buildCommand, lastLine, ProjectFolder } from "./command.ts";

beforeAll(buildCommand);

const opened: { remove?: () => void; close?: () => unknown }[] = [];
afterEach(async () => {
  for (const one of opened.splice(0)) await (one.remove?.() ?? one.close?.());
});

function opens<T extends { remove?: () => void; close?: () => unknown }>(one: T): T {
  opened.push(one);
  return one;
}

const reader = `import { readFile, stat } from "node:fs/promises";
import { definePredictor, Input, Output } from "llama-lora-cog/cog";
export default definePredictor({
  inputs: { f: Input.path(), files: Input.list(Input.path()).optional(), whole: Input.boolean({ default: true }) },
  output: Output.any(),
  predict: async ({ f, files, whole }) => ({
    name: f.name,
    size: (await stat(f.path)).size,
    names: (files ?? []).map(({ name }) => name),
    bytes: whole ? (await readFile(f.path)).toString("base64") : "",
  }),
});`;

function readerProject(files: Record<string, string> = {}): ProjectFolder {
  return opens(new ProjectFolder("fin", { "predict.ts": reader, ...files }));
}

async function answered(project: ProjectFolder, words: string[], env: Record<string, string> = {}) {
  const result = await project.run(["predict", ...words], { env });
  expect(result.exit, result.stderr).toBe(0);
  return JSON.parse(result.stdout);
}

/** Another Cog server, as far as a command sees it. */
async function foreignServer(answer: ScriptedAnswer = {}): Promise<Receiver> {
  const document = { components: { schemas: { Input: { properties: { f: { type: "string", format: "uri" } } } } } };
  const answers: Record<string, ScriptedAnswer> = {
    "/health-check": { body: JSON.stringify({ status: "READY" }) },
    "/openapi.json": { body: JSON.stringify(document) },
  };
  return opens(await Receiver.start(({ path }) => answers[path] ?? answer));
}

describe("a file given to this folder's model", () => {
  it("may be larger than a request, is read where it lies and stays as it is", async () => {
    const project = readerProject({ "big.bin": "begin" });
    const big = join(project.path, "big.bin");
    truncateSync(big, 3 * 2 ** 30);
    const before = statSync(big);
    const { name, size } = await answered(project, ["-i", "f=@big.bin", "-i", "files=@big.bin", "-i", "whole=false"]);
    expect([name, size]).toEqual(["big.bin", 3 * 2 ** 30]);
    expect(statSync(big)).toMatchObject({ mtimeMs: before.mtimeMs, size: before.size, ino: before.ino });
  });

  it("may be a folder, which comes as a tar with what its links lead to; nothing of it stays behind", async () => {
    const temporary = opens(new ProjectFolder(undefined));
    const project = readerProject({ "set/rows.json": "[1]", "set/below/more.json": "[2]" });
    execFileSync("ln", ["-s", "../set/rows.json", join(project.path, "set", "linked.json")]);
    const { name, bytes } = await answered(project, ["-i", "f=@set/"], { TMPDIR: temporary.path });
    expect(name).toBe("set.tar");
    expect(temporary.written()).toEqual([]);
    const packed: Record<string, string> = {};
    const entries = list({
      onReadEntry: (entry) => {
        packed[entry.path] = entry.type;
      },
    });
    entries.end(Buffer.from(bytes, "base64"));
    expect(packed).toMatchObject({ "./rows.json": "File", "./linked.json": "File", "./below/more.json": "File" });
  });

  it("may be a pipe", async () => {
    const project = readerProject();
    const command = `'${process.execPath}' '${project.script}' predict -i f=@<(printf 'from a pipe')`;
    const text = execFileSync("bash", ["-c", command], { cwd: project.path, stdio: ["ignore", "pipe", "ignore"] });
    expect(Buffer.from(JSON.parse(text.toString()).bytes, "base64").toString()).toBe("from a pipe");
  });

  it("that cannot be read is named", async () => {
    const project = readerProject();
    const result = await project.run(["predict", "-i", "f=@nowhere"]);
    expect([result.exit, lastLine(result.stderr)]).toEqual([1, 'input "f": open nowhere: no such file or directory']);
  });
});

describe("an address typed for this folder's model", () => {
  it("may be inside the network, in -i and --json, alone and in a list", async () => {
    const files = opens(await Receiver.start(({ path }) => ({ body: `content of ${path}` })));
    const project = readerProject();
    const env = { COG_ALLOW_PRIVATE_NETWORK: "" };
    const { name, bytes } = await answered(project, ["-i", `f=${files.url}/rows.json`], env);
    expect([name, Buffer.from(bytes, "base64").toString()]).toEqual(["rows.json", "content of /rows.json"]);
    const json = JSON.stringify({ f: `${files.url}/a.txt`, files: [`${files.url}/b.txt`] });
    const { output } = await answered(project, ["--json", json], env);
    expect(output).toMatchObject({ name: "a.txt", names: ["b.txt"] });
  });

  it("may not lead elsewhere inside, and the message says what allows it", async () => {
    const inside = opens(await Receiver.start(() => ({ body: "inside" })));
    const location = inside.url.replace("127.0.0.1", "localhost");
    const files = opens(await Receiver.start(() => ({ status: 302, headers: { location } })));
    const result = await readerProject().run(["predict", "-i", `f=${files.url}`], {
      env: { COG_ALLOW_PRIVATE_NETWORK: "" },
    });
    expect([result.exit, lastLine(result.stderr)]).toEqual([
      1,
      'error [INPUT_FILE]: input "f": localhost is not a public address; the server reaches it with COG_ALLOW_PRIVATE_NETWORK=1',
    ]);
    expect(inside.received).toEqual([]);
  });

  it("is refused from a client of a server, which names the setting", async () => {
    const project = readerProject();
    const server = await startServerProcess({ dir: project.path, env: { COG_ALLOW_PRIVATE_NETWORK: null } });
    opens({ close: () => server.kill() });
    await server.until("READY");
    const files = opens(await Receiver.start(() => ({ body: "inside" })));
    const result = await project.run(["predict", server.url, "-i", `f=${files.url}`]);
    expect([result.exit, lastLine(result.stderr)]).toEqual([1, expect.stringContaining("COG_ALLOW_PRIVATE_NETWORK=1")]);
    expect(files.received).toEqual([]);
  });
});

describe("what only the command's own server is told", () => {
  const request = (f: string) => ({
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ input: { f } }),
  });

  it("is no file to a client: neither a reference nor a path", async () => {
    const project = readerProject({ "secret.txt": "s3cret" });
    const server = await startServerProcess({ dir: project.path });
    opens({ close: () => server.kill() });
    await server.until("READY");
    const reference = new LocalFiles().add({ path: join(project.path, "secret.txt"), name: "secret.txt" });
    for (const f of [reference, join(project.path, "secret.txt"), `file://${project.path}/secret.txt`]) {
      const answer = await (await fetch(`${server.url}/predictions`, request(f))).json();
      expect(answer).toMatchObject({ status: "failed", error: expect.stringContaining("[INPUT_FILE]") });
    }
  });

  it("nobody else on this machine gets at: its server wants a token that no one but the command has", async () => {
    const project = readerProject({ "mine.txt": "mine" });
    const { localModel, startLocalServer } = await import(join(project.root, "dist/cog/cli/run/local.js"));
    const cwd = process.cwd;
    process.cwd = () => project.path;
    const model = localModel({ config: undefined, mode: "predict", env: ["COG_AUTH_TOKEN=known"], debug: false });
    process.cwd = cwd;
    const { server, client, files, close } = await startLocalServer(model);
    opens({ close });
    await expect.poll(async () => (await client.health()).status).toBe("READY");
    const f = await files.file("f", join(project.path, "mine.txt"));
    const foreign = request(f);
    expect((await fetch(`${server.url}/predictions`, foreign)).status).toBe(401);
    Object.assign(foreign.headers, { authorization: "Bearer known" });
    expect((await fetch(`${server.url}/predictions`, foreign)).status).toBe(401);
    const answer = await client.run("/predictions", { input: { f }, context: {} }, AbortSignal.timeout(30_000));
    expect(answer.output).toMatchObject({ name: "mine.txt", bytes: Buffer.from("mine").toString("base64") });
  });
});

describe("a file given to a server elsewhere", () => {
  it("that does not fit into a request is refused before it is read, with the way out", async () => {
    const server = await foreignServer();
    const project = opens(new ProjectFolder(undefined, { "big.bin": "" }));
    truncateSync(join(project.path, "big.bin"), 80e6);
    const result = await project.run(["predict", server.url, "-i", "f=@big.bin"]);
    expect([result.exit, result.stdout]).toEqual([1, ""]);
    expect(result.stderr).toContain(
      'input "f": big.bin has 80.0 MB; a request to a server holds 78.6 MB of files\n' +
        "Put it where the server can fetch it and give its URL: -i f=https://...\n",
    );
    expect(server.received.map(({ path }) => path)).toEqual(["/health-check", "/openapi.json"]);
  });

  it.each([
    ["text", "the body is larger than 1 MB\nand more", "the body is larger than 1 MB"],
    ["JSON", '{"detail":"too much"}', "too much"],
    ["a page", "<html><body>413</body></html>", ""],
  ])("that it refuses with %s fails with its reason", async (_, body, reason) => {
    const server = await foreignServer({ status: 413, body });
    const project = opens(new ProjectFolder(undefined, { "small.bin": "x" }));
    const result = await project.run(["predict", server.url, "-i", "f=@small.bin"]);
    expect([result.exit, lastLine(result.stderr)]).toEqual([
      1,
      `Failed to run prediction: /predictions call returned status 413${reason && `: ${reason}`}`,
    ]);
  });

  it("may be a folder too", async () => {
    const server = await foreignServer({ body: JSON.stringify({ status: "succeeded", output: "done" }) });
    const project = opens(new ProjectFolder(undefined, { "set/rows.json": "[1]" }));
    expect((await project.run(["predict", server.url, "-i", "f=@set"])).exit).toBe(0);
    const { input } = JSON.parse(server.received.at(-1)!.body.toString());
    expect(input.f).toMatch(/^data:application\/x-tar;base64,/);
  });
});

describe("the file weights of a training without train_output, as Cog's client writes it", () => {
  it("is taken as an adapter by the model of this repository: as an input and in COG_WEIGHTS", async () => {
    const rows = JSON.stringify(Array.from({ length: 4 }, (_, i) => ({ instruction: `say ${i}`, output: `${i}` })));
    const project = opens(new ProjectFolder(undefined, { "rows.json": rows }));
    const config = ["predict", "train"].map((mode) => `${mode}: ${join(project.root, mode)}.ts\n`).join("");
    writeFileSync(join(project.path, "cog.yaml"), config);
    const training = await project.run(["train", "-i", "dataset=@rows.json", "-i", "num_epochs=1"]);
    expect(training.exit, training.stderr).toBe(0);
    expect(Object.keys(JSON.parse(project.read("weights").toString()))).toEqual(["weights"]);
    const words = ["predict", "--stream", "-i", "prompt=say 1", "-i", "temperature=0", "-i", "max_new_tokens=4"];
    const fromStart = await project.run(words, { env: { COG_WEIGHTS: "weights" } });
    const server = project.start(["serve", "--host", "127.0.0.1", "-p", "0"]);
    opens({ close: () => server.kill() });
    words.splice(1, 0, await addressOf(server));
    const asInput = await project.run([...words, "-i", "adapter=@weights"]);
    const unpacked = await project.run([...words, "-i", "adapter=@weights.gz"]);
    expect([fromStart.exit, asInput.exit, unpacked.exit]).toEqual([0, 0, 0]);
    expect([fromStart.stdout, asInput.stdout]).toEqual([unpacked.stdout, unpacked.stdout]);
  });
});

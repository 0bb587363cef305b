import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { freePort } from "../../../scripts/free-port.mjs";
import { Receiver } from "../receiver.ts";
import { addressOf, buildCommand, lastLine, ProjectFolder, resultOf } from "./command.ts";
import { ServedFixtures } from "./served.ts";

beforeAll(buildCommand);

const served = new ServedFixtures();
afterAll(() => served.close());

const opened: ProjectFolder[] = [];
afterEach(() => {
  for (const project of opened.splice(0)) project.remove();
});

function open(fixture: string, files?: Record<string, string>): ProjectFolder {
  const project = new ProjectFolder(fixture, files);
  opened.push(project);
  return project;
}

describe("cog predict", () => {
  it("prints the result on standard output and everything else on standard error", async () => {
    expect(await open("echo").run(["predict", "-i", "s=you"])).toEqual({
      exit: 0,
      stdout: "hello you\n",
      stderr: "\nStarting the model and running setup()...\nRunning prediction...\n\n",
    });
  });

  it("finds the project from a folder below it, and reads files from the folder it was called in", async () => {
    const project = open("fin", { "below/notes.txt": "some text" });
    const result = await project.run(["predict", "--json", "-"], { stdin: '{"f":"@below/notes.txt"}' });
    expect(result.exit).toBe(0);
    expect(JSON.parse(result.stdout).output.body).toBe("some text");
  });

  it("starts nothing for an input that cannot be right", async () => {
    expect(await open("sbad").run(["predict", "-i", "nope=1"])).toEqual({
      exit: 1,
      stdout: "",
      stderr: 'unknown input "nope"; valid inputs are: \n',
    });
  });

  it("says when the setup failed", async () => {
    const result = await open("sbad").run(["predict"]);
    expect(result.exit).toBe(1);
    expect(result.stdout).toBe("");
    expect(result.stderr).toContain("no weights");
    expect(lastLine(result.stderr)).toBe("Model setup failed");
  });

  it("gives an error of the registry as its code and one message", async () => {
    const result = await open("boom").run(["predict", "-i", "mode=coded"]);
    expect(result.exit).toBe(1);
    expect(result.stdout).toBe("");
    expect(lastLine(result.stderr)).toBe('error [DATASET_ROW_FIELD]: data.json, record 3: field "output" is missing');
    expect(result.stderr).not.toContain("    at ");
  });

  it("hands -e to the model", async () => {
    const result = await open("env").run(["predict", "-e", "FOO=a=b"]);
    expect(result.stdout).toBe("a=b\n");
  });

  it("prints the pieces as text with --stream", async () => {
    const address = await served.addressOf("talk");
    const there = open("none");
    expect((await there.run(["predict", address, "--stream", "-i", "words=2"])).stdout).toBe("word0 word1\n");
    expect((await there.run(["predict", address, "-i", "words=2"])).stdout).toBe('[\n  "word0",\n  " word1"\n]\n');
  });

  it("refuses --stream where the model has none", async () => {
    const result = await open("none").run(["predict", await served.addressOf("echo"), "--stream", "-i", "s=a"]);
    expect([result.exit, lastLine(result.stderr)]).toEqual([1, "The model offers no event stream; leave --stream out"]);
  });

  it.skipIf(spawnSync("script", ["--version"]).status !== 0)(
    "prints text as it comes on a terminal (needs util-linux's script for one)",
    async () => {
      const project = open("talk");
      const command = `'${process.execPath}' '${project.script}' predict -i words=2 2>/dev/null`;
      const { stdout } = spawnSync("script", ["-qec", command, "/dev/null"], { cwd: project.path, encoding: "utf8" });
      expect(stdout.replaceAll("\r", "")).toBe("word0 word1\n");
    },
  );

  it("is canceled by Ctrl-C: the model sees it, no process stays, exit 130", async () => {
    const child = open("talk").start(["predict", "--stream", "--debug", "-i", "hold=true"]);
    const result = resultOf(child);
    await said(child, "word2");
    const processes = descendants(child.pid!);
    expect(processes.length).toBeGreaterThan(0);
    child.kill("SIGINT");
    expect((await result).exit).toBe(130);
    expect((await result).stdout).toBe("word0 word1 word2\n");
    expect((await result).stderr).toContain("let go");
    // A helper of a helper may need a moment more to notice.
    await expect.poll(() => processes.filter(isAlive)).toEqual([]);
  });

  it("leaves no process behind when it is killed", async () => {
    const child = open("talk").start(["predict", "--stream", "-i", "hold=true"]);
    await once(child.stdout!, "data");
    const processes = descendants(child.pid!);
    child.kill("SIGKILL");
    await once(child, "exit");
    await expect.poll(() => processes.filter(isAlive)).toEqual([]);
  });
});

describe("cog train", () => {
  const dataset = { "d.json": '[{"instruction":"a","output":"b"}]' };

  it("writes the archive that the project names, shows the training's lines and the next command", async () => {
    const project = open("tuned", { ...dataset, "weights/base.bin": "base" });
    const result = await project.run(["train", "-i", "dataset=@d.json", "-i", "epochs=3"]);
    expect(result.stderr).toContain("\nRunning training...\n\ntraining on d.json\nWritten output to: adapter.tar.gz\n");
    expect(lastLine(result.stderr)).toBe(`node ${project.script} predict -i adapter=@adapter.tar.gz -i prompt="..."`);
    expect({ ...result, stderr: "" }).toEqual({ exit: 0, stdout: "", stderr: "" });
    expect(project.written()).toEqual(["adapter.tar.gz"]);
    expect(project.read("adapter.tar.gz").toString()).toBe("xxx");
  });

  it.skipIf(spawnSync("script", ["--version"]).status !== 0)(
    "draws the run's metrics on a terminal below the training's lines, and takes them away at its end",
    async () => {
      const project = open("tuned", {
        ...dataset,
        "train.ts": `import { setTimeout as sleep } from "node:timers/promises";
          import { defineTrainer, Input, Output } from "llama-lora-cog/cog";
          export default defineTrainer({
            inputs: { dataset: Input.path() },
            output: Output.string(),
            async train(_, { recordMetric }) {
              recordMetric("steps", 2);
              for (let step = 1; step <= 2; step++) {
                recordMetric("step", step);
                recordMetric("loss", 1 / step);
                await sleep(500);
                console.log("live:", process.env.COG_LIVE_METRICS, "after step", step);
              }
              return "trained";
            },
          });`,
      });
      const command = `stty columns 70; '${process.execPath}' '${project.script}' train -i dataset=@d.json`;
      const env = { ...process.env, CI: "", TERM: "xterm", LC_ALL: "C" };
      const { stdout } = spawnSync("script", ["-qec", command, "/dev/null"], {
        cwd: project.path,
        encoding: "utf8",
        env,
      });
      const first = "step 1/2 [###############---------------]  50%  loss 1.0000";
      const second = "step 2/2 [##############################] 100%  loss 0.7368";
      const erased = "\r\u001b[K";
      expect(stdout).toContain(`${first}${erased}live: 1 after step 1\r\n${first}`);
      expect(stdout).toContain(`${erased}${second}${erased}live: 1 after step 2\r\n${second}${erased}`);
    },
  );

  it("prints a next command that a shell takes as it is, with what the training was given", async () => {
    const project = open("tuned", {
      ...dataset,
      "it's ours.yaml": "predict: predict.ts\ntrain: train.ts\ntrain_output: adapter.tar.gz\n",
      "predict.ts": `import { definePredictor, Input, Output } from "llama-lora-cog/cog";
        export default definePredictor({
          inputs: { prompt: Input.string(), adapter: Input.path() },
          output: Output.string(),
          predict: async ({ prompt, adapter }) => [process.env.GREETING, adapter.name, prompt].join("|"),
        });`,
    });
    rmSync(join(project.path, "cog.yaml"));
    const words = ["-f", "it's ours.yaml", "-e", 'GREETING=$HOME `hi` "you"', "-i", "dataset=@d.json"];
    const result = await project.run(["train", ...words, "-o", "my own; adapter"]);
    expect(project.written()).toEqual(["my own; adapter.tar.gz"]);
    const { stdout } = spawnSync("sh", ["-c", lastLine(result.stderr)], { cwd: project.path, encoding: "utf8" });
    expect(stdout).toBe('$HOME `hi` "you"|my own; adapter.tar.gz|...\n');
  });

  it("names in the next command the input that takes the archive, among others, and something to ask", async () => {
    const project = open("tuned", {
      ...dataset,
      "predict.ts": `import { definePredictor, Input, Output } from "llama-lora-cog/cog";
        export default definePredictor({
          inputs: {
            prompt: Input.string().optional(),
            template: Input.path().optional(),
            adapter: Input.list(Input.path(), { acceptsOne: true }).optional(),
          },
          output: Output.string(),
          predict: ({ prompt }) => prompt ?? "",
        });`,
    });
    const { stderr } = await project.run(["train", "-i", "dataset=@d.json", "-o", "mine"]);
    expect(lastLine(stderr)).toBe(`node ${project.script} predict -i adapter=@mine.tar.gz -i prompt="..."`);
  });

  it("prints commands as it was called: by a script of package.json, by npx", async () => {
    const project = open("tuned", {
      ...dataset,
      "package.json": '{"scripts":{"teach":"cog train -i dataset=@d.json"}}',
    });
    const bin = join(project.path, "node_modules", ".bin");
    mkdirSync(bin, { recursive: true });
    symlinkSync(project.script, join(bin, "cog"));
    const options = {
      cwd: project.path,
      env: { ...process.env, npm_config_offline: "true" },
      encoding: "utf8",
    } as const;
    const trained = spawnSync("npm", ["run", "teach"], options);
    expect([trained.status, lastLine(trained.stderr)]).toEqual([
      0,
      'npx cog predict -i adapter=@adapter.tar.gz -i prompt="..."',
    ]);
    symlinkSync(project.script, join(bin, "llama-lora-cog"));
    const asked = spawnSync("npx", ["llama-lora-cog", "predict", "http://127.0.0.1:9"], options);
    expect(lastLine(asked.stderr)).toBe("Is the server running there? `npx llama-lora-cog serve` starts one.");
  });

  it("answers --json with the whole answer on standard output; the archive keeps its name", async () => {
    const project = open("tuned", dataset);
    const result = await project.run(["train", "--json", '{"dataset":"@d.json","epochs":2}']);
    expect(result.exit, result.stderr).toBe(0);
    expect(JSON.parse(result.stdout)).toMatchObject({ status: "succeeded", output: { weights: "adapter.tar.gz" } });
    expect(project.written()).toEqual(["adapter.tar.gz"]);
    const plain = open("train", dataset);
    const answer = await plain.run(["train", "--json", '{"dataset":"@d.json"}']);
    expect(JSON.parse(answer.stdout)).toMatchObject({ status: "succeeded", output: { weights: "weights.bin" } });
    expect(plain.written()).toEqual(["weights.bin"]);
  });

  it("says that an adapter will be overwritten before the training begins", async () => {
    const project = open("tuned", { ...dataset, "adapter.tar.gz": "the old one" });
    const { stderr } = await project.run(["train", "-i", "dataset=@d.json"]);
    expect(stderr).toContain(
      "adapter.tar.gz is there already and will be overwritten; -o gives another name\nRunning training...\n",
    );
  });

  it("at an address gives files the names that they get here, and prints a command for that address", async () => {
    const trainer = open("tuned").start(["serve", "--host", "127.0.0.1", "-p", "0", "--x-mode", "train"]);
    const trainerEnded = resultOf(trainer);
    const address = await addressOf(trainer);
    const there = open("none", dataset);
    const result = await there.run(["train", address, "-i", "dataset=@d.json"]);
    expect(there.written()).toEqual(["adapter.tar.gz"]);
    expect(lastLine(result.stderr)).toBe(
      `node ${there.script} predict ${address} -i adapter=@adapter.tar.gz -i prompt="..."`,
    );
    const again = await there.run(["train", address, "-i", "dataset=@d.json"]);
    expect([again.exit, again.stderr]).toEqual([1, expect.stringContaining("adapter.tar.gz is there already\n")]);
    trainer.kill("SIGTERM");
    expect((await trainerEnded).stderr).toContain("training on d.json");
  });

  it("names no next command where a training answers nothing", async () => {
    const trainer = `import { defineTrainer, Input, Output } from "llama-lora-cog/cog";
      export default defineTrainer({
        inputs: { dataset: Input.path() },
        output: Output.object({ weights: Output.path() }).optional(),
        train: () => null,
      });`;
    const project = open("tuned", { ...dataset, "train.ts": trainer });
    const result = await project.run(["train", "-i", "dataset=@d.json"]);
    expect([result.exit, result.stdout, lastLine(result.stderr)]).toEqual([0, "", "No output generated"]);
    expect(project.written()).toEqual([]);
  });

  it("writes nothing into weights/", async () => {
    const project = open("tuned", { ...dataset, "weights/base.bin": "base" });
    const refused = await project.run(["train", "-i", "dataset=@d.json", "-o", "weights"]);
    expect([refused.exit, lastLine(refused.stderr)]).toEqual([
      1,
      "Output path is not writable: the folder weights/ holds the model's own weights; choose another --output",
    ]);
    expect(project.written()).toEqual([]);
  });
});

describe("cog serve", () => {
  it("serves the project; cog predict ADDRESS runs there; SIGTERM ends it with code 0", async () => {
    const project = open("kit");
    const server = project.start(["serve", "--host", "127.0.0.1", "-p", "0"]);
    const ended = resultOf(server);
    const url = await addressOf(server);
    const there = new ProjectFolder(undefined);
    opened.push(there);
    const good = await there.run(["predict", url, "-i", "prompt=p", "-i", "n=4"]);
    expect([good.exit, JSON.parse(good.stdout).n]).toEqual([0, 4]);
    const bad = await there.run(["predict", url, "-i", "prompt=p", "-i", "n=x"]);
    expect([bad.exit, lastLine(bad.stderr)]).toEqual([1, 'invalid input "n": expected integer, got string']);
    server.kill("SIGTERM");
    expect((await ended).exit).toBe(0);
    const gone = await there.run(["predict", url, "-i", "prompt=p"]);
    expect([gone.exit, gone.stderr]).toEqual([1, expect.stringContaining(`Cannot reach ${url}: connection refused`)]);
  });

  it.skipIf(spawnSync("script", ["--version"]).status !== 0)(
    "logs lines for a person on a terminal and ends with the address once ready (needs util-linux's script for one)",
    async () => {
      const setup = 'setup() { console.log("loading the weights"); },';
      const project = open("echo", {
        "predict.ts": `import { definePredictor, Input, Output } from "llama-lora-cog/cog";
          export default definePredictor({ inputs: {}, output: Output.string(), ${setup} predict: () => "" });`,
      });
      const command = `exec '${process.execPath}' '${project.script}' serve --host 127.0.0.1 -p 0`;
      const terminal = spawn("script", ["-qec", command, "/dev/null"], { cwd: project.path });
      const ended = resultOf(terminal);
      await said(terminal, "Stop with Ctrl-C");
      terminal.stdin.write("\x03");
      const text = (await ended).stdout.replaceAll("\r", "");
      expect(text).toMatch(
        /^listening on 127.0.0.1:(\d+)\nloading the weights\nsetup succeeded\nReady: http:\/\/127.0.0.1:\1\nStop with Ctrl-C\n/,
      );
    },
  );

  it("is waited for while it starts: before its port is open, and during its setup", async () => {
    const slow = `import { definePredictor, Input, Output } from "llama-lora-cog/cog";
      export default definePredictor({
        inputs: { s: Input.string() },
        output: Output.string(),
        setup: () => new Promise((resolve) => setTimeout(resolve, 1500)),
        predict: ({ s }) => s,
      });`;
    const project = open("echo", { "predict.ts": slow });
    const port = await freePort();
    const words = ["predict", `http://127.0.0.1:${port}`, "-i", "s=hi"];
    const early = project.run(words);
    const server = project.start(["serve", "--host", "127.0.0.1", "-p", String(port)]);
    const ended = resultOf(server);
    expect(await early).toEqual({
      exit: 0,
      stdout: "hi\n",
      stderr: `Waiting for http://127.0.0.1:${port}, which is starting...\nRunning prediction...\n\n`,
    });
    server.kill("SIGTERM");
    await ended;
  });

  it("is waited for as long as --setup-timeout says", async () => {
    const starting = await Receiver.start(() => ({ body: '{"status":"STARTING"}' }));
    const there = open("none");
    const result = await there.run(["predict", starting.url, "--setup-timeout", "1"]);
    expect([result.exit, lastLine(result.stderr)]).toEqual([
      1,
      `Timed out: ${starting.url} was not ready after 1 seconds`,
    ]);
    await starting.close();
  });

  it("that is no Cog server is not waited for", async () => {
    const other = await Receiver.start(() => ({ status: 404 }));
    const result = await open("none").run(["predict", other.url]);
    expect([result.exit, lastLine(result.stderr)]).toEqual([
      1,
      `${other.url} is no Cog server: /health-check answered with status 404`,
    ]);
    await other.close();
  });

  it("that asks for a token gets --token, or COG_AUTH_TOKEN", async () => {
    const project = open("echo");
    const server = project.start(["serve", "--host", "127.0.0.1", "-p", "0"], { COG_AUTH_TOKEN: "t0ken" });
    const ended = resultOf(server);
    const url = await addressOf(server);
    const there = open("none");
    const words = ["predict", url, "-i", "s=you"];
    const none = { env: { COG_AUTH_TOKEN: "" } };
    expect(await there.run([...words, "--token", "t0ken"], none)).toMatchObject({ exit: 0, stdout: "hello you\n" });
    expect(await there.run(words, { env: { COG_AUTH_TOKEN: "t0ken" } })).toMatchObject({ exit: 0 });
    const hint = "Give it with --token, or in the variable COG_AUTH_TOKEN.\n";
    expect(await there.run(words, none)).toMatchObject({ exit: 1, stderr: `${url} asks for a token\n${hint}` });
    expect(await there.run([...words, "--token", "other"], none)).toMatchObject({
      exit: 1,
      stderr: `${url} does not take this token\n${hint}`,
    });
    server.kill("SIGTERM");
    await ended;
    // The model of the folder needs none, whatever the variable says.
    expect(await project.run(["predict", "-i", "s=me"], { env: { COG_AUTH_TOKEN: "t0ken" } })).toMatchObject({
      exit: 0,
    });
  });

  it("has its own variables and configuration: -e and -f are refused with an address, --token without", async () => {
    const project = open("echo");
    const url = "http://127.0.0.1:9";
    for (const [words, message] of [
      [["predict", url, "-e", "A=b"], `--env is for the model of this folder; ${url} has its own`],
      [["train", url, "-f", "cog.yaml"], `--file is for the model of this folder; ${url} has its own`],
      [["predict", "--token", "t"], "--token is for a server at an address; the model of this folder needs none"],
    ] as const)
      expect(await project.run(words)).toEqual({ exit: 1, stdout: "", stderr: `${message}\n` });
  });

  it("is what the images' `python -m cog.server.http` starts", async () => {
    const project = open("train");
    const server = project.startShim(["-m", "cog.server.http", "--x-mode", "train"], { PORT: "0" });
    const ended = resultOf(server);
    const url = await addressOf(server);
    expect((await fetch(`${url}/health-check`)).status).toBe(200);
    server.kill("SIGTERM");
    expect((await ended).exit).toBe(0);
  });
});

/** Resolves when standard output holds the text. */
function said(child: ChildProcess, text: string): Promise<void> {
  let all = "";
  return new Promise((resolve) =>
    child.stdout!.on("data", (chunk) => {
      all += chunk;
      if (all.includes(text)) resolve();
    }),
  );
}

function descendants(pid: number): number[] {
  const { stdout } = spawnSync("ps", ["-eo", "pid=,ppid="], { encoding: "utf8" });
  const pairs = stdout
    .trim()
    .split("\n")
    .map((line) => line.trim().split(/\s+/).map(Number));
  const below = (parent: number): number[] =>
    pairs.filter(([, ppid]) => ppid === parent).flatMap(([child]) => [child!, ...below(child!)]);
  return below(pid);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

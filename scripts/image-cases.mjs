// What the Go client does with an image, as recorded beside the project: here with images whose models are in TypeScript.
import { spawn, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { referenceData } from "../test/reference-data.mjs";
import { root } from "./installed.mjs";

const recordings = join(referenceData, "conformance", "cli", "cases");
const fixtures = join(root, "test", "cog", "cli", "fixtures");
const cog = join(root, "scripts", "cog.mjs");
const atOnce = 3;

/** Recordings of builds of a Python client's own project. */
const aboutBuilds = /^K(46.*|48)$/;

/** Images that are made from another fixture's, by their label or their start command. */
const variants = {
  nolabel: { of: "kit", label: (labels) => ({ "run.cog.config": labels["run.cog.config"] }) },
  gpu: { of: "echo", label: (labels) => ({ ...labels, "run.cog.config": '{"build":{"gpu":true}}' }) },
  crash: { of: "none", label: (labels) => labels, command: 'CMD ["sh", "-c", "echo crashed >&2; exit 3"]' },
};

/** Runs every recorded case about an image with the client; `check` hears of each. False where there are no recordings. */
export async function runCases({ client, image, check }) {
  if (!existsSync(recordings)) {
    return false;
  }
  const cases = readdirSync(recordings)
    .map((name) => JSON.parse(readFileSync(join(recordings, name), "utf8")))
    .filter(({ id }) => !aboutBuilds.test(id));
  const images = new Map();
  for (const { fixture } of cases) {
    if (fixture !== undefined && !images.has(fixture)) images.set(fixture, buildFixture(fixture, image));
  }
  const waiting = [...cases];
  const work = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const found = await runCase(client, next, images.get(next.fixture));
      const differences = compare(next, found);
      check(`${next.id}: ${next.title}`, differences === "", differences);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  for (const name of images.values()) removeContainers(name);
  return true;
}

/** The client leaves some behind, as recorded: after a failed setup, for example. */
function removeContainers(image) {
  const ids = must("docker", ["ps", "--all", "--quiet", "--filter", `ancestor=${image}`], root)
    .split("\n")
    .filter(Boolean);
  if (ids.length > 0) must("docker", ["rm", "--force", ...ids], root);
}

/** The fixture's project as an image on top of the project's own; returns its name. */
function buildFixture(fixture, base) {
  const variant = variants[fixture];
  const source = variant?.of ?? fixture;
  const folder = mkdtempSync(join(tmpdir(), "image-fixture-"));
  const tag = `cog-case:${fixture}`;
  try {
    cpSync(join(fixtures, source), folder, { recursive: true });
    const lines = [`FROM ${base}`, "COPY . /model/", "WORKDIR /model", "ENV COG_APP_DIR=/src", variant?.command ?? ""];
    writeFileSync(join(folder, "Dockerfile"), lines.join("\n"));
    const labelled = variant ? `cog-case:${source}-labels` : tag;
    must(process.execPath, [cog, "build", "--progress", "quiet", "-t", labelled], folder);
    if (!variant) return tag;
    // Labels cannot be taken away from an image: this one is built again, from a base without any.
    const labels = JSON.parse(must("docker", ["image", "inspect", labelled], folder))[0].Config.Labels;
    const words = Object.entries(variant.label(labels)).flatMap(([key, value]) => ["--label", `${key}=${value}`]);
    const bare = `${base}-bare`;
    must("docker", ["build", "--quiet", "--target", "cpu", "--tag", bare, root], root);
    writeFileSync(join(folder, "Dockerfile"), lines.join("\n").replace(`FROM ${base}`, `FROM ${bare}`));
    must("docker", ["build", "--quiet", "--tag", tag, ...words, folder], folder);
    return tag;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function must(command, words, cwd) {
  const { status, stdout, stderr } = spawnSync(command, words, { cwd, encoding: "utf8" });
  if (status !== 0) throw new Error(`${command} ${words.join(" ")}: ${stderr}`);
  return stdout;
}

/** One case in an otherwise empty folder: what came back, and what was written. */
async function runCase(client, { argv, files = {}, env = {}, stdin }, image) {
  const folder = mkdtempSync(join(tmpdir(), "image-case-"));
  try {
    for (const [name, content] of Object.entries(files)) {
      mkdirSync(join(folder, name.endsWith("/") ? name : dirname(name)), { recursive: true });
      if (!name.endsWith("/")) writeFileSync(join(folder, name), bytes(content));
    }
    const words = argv.slice(1).map((word) => (word === "$IMAGE" ? image : word));
    const child = spawn(client, words, {
      cwd: folder,
      env: { ...process.env, ...env },
      stdio: [stdin === undefined ? "ignore" : "pipe", "pipe", "pipe"],
    });
    child.stdin?.end(stdin);
    const texts = { stdout: "", stderr: "" };
    for (const name of Object.keys(texts)) {
      child[name].setEncoding("utf8").on("data", (text) => {
        texts[name] += text;
      });
    }
    const exit = await new Promise((resolve) => child.on("close", resolve));
    const written = readdirSync(folder, { withFileTypes: true, recursive: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(folder.length + 1))
      .filter((name) => !(name in files))
      .map((name) => [name, comparable(readFileSync(join(folder, name)).toString("latin1"))]);
    return { exit, ...texts, written: Object.fromEntries(written.sort()) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What differs from the recording, in words; empty where nothing does. */
function compare(recorded, found) {
  const expected = Object.entries(recorded.written)
    .map(([name, content]) => [name, bytes(content).toString("latin1")])
    .sort();
  const pairs = [
    ["exit", recorded.exit, found.exit],
    ["stdout", fromServer(recorded.stdout), fromServer(found.stdout)],
    ["written", JSON.stringify(Object.fromEntries(expected)), JSON.stringify(found.written)],
    ["message", messageOf(recorded.stderr), sameMessage(recorded.stderr, found.stderr)],
  ];
  return pairs
    .filter(([, wanted, got]) => wanted !== got)
    .map(([what, wanted, got]) => `${what}: recorded ${JSON.stringify(wanted)}, found ${JSON.stringify(got)}`)
    .join("\n     ");
}

/** The last line. Of a container that ends at once the client says what it found missing first: its port or all of it. */
function messageOf(stderr) {
  const ended =
    /Failed to (get container status: container not found: "<sha>"|determine container port: container <sha> is not running)/;
  return fromServer(stderr.trimEnd().split("\n").at(-1)).replace(ended, "The container has ended");
}

/** The recorded last line where it is there: lines of the container's log may come behind it. */
function sameMessage(recorded, found) {
  const message = messageOf(recorded);
  return found.split("\n").some((line) => messageOf(line) === message) ? message : messageOf(found);
}

const bytes = (content) => (typeof content === "string" ? Buffer.from(content) : Buffer.from(content.base64, "base64"));

/** Replaces what differs from run to run, as the recordings do. */
function comparable(text) {
  return text
    .replace(/("predict_time": )[\d.e-]+/, "$10")
    .replace(/("base": ")[^".]*/, "$1<name>")
    .replace(/\b[0-9a-f]{64}\b/, "<sha>");
}

/** The server's own part of a failure only needs to hold the author's words. */
function fromServer(text) {
  return comparable(text).replace(/(status "failed": |"error": ")(?:.*(bad apple)|[^"\n]*)("?,?)$/gm, "$1$2$3");
}

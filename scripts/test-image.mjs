// npm run test:image: builds the CPU image for real, runs it as it runs in production (not as root, read-only), and drives it
// with Cog's Go client where that is (COG_GO_CLIENT, or the newest in ~/.cache/go-cog-cli). IMAGE_BASE replaces the base image.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { text as readText } from "node:stream/consumers";
import { check, close, outcome, skip, step } from "./checks.mjs";
import { runCases } from "./image-cases.mjs";
import { checkInit } from "./image-init.mjs";
import { checkSchema, docker } from "./image-schema.mjs";
import { root } from "./installed.mjs";

const image = "llama-lora-cog:test";
const cog = join(root, "scripts", "cog.mjs");
function goClient() {
  if (process.env.COG_GO_CLIENT) return process.env.COG_GO_CLIENT;
  const folder = join(homedir(), ".cache", "go-cog-cli");
  if (!existsSync(folder)) return undefined;
  const found = readdirSync(folder).filter((name) => name.startsWith("cog-v") && statSync(join(folder, name)).isFile());
  return found.length > 0 ? join(folder, found.sort().at(-1)) : undefined;
}

async function main() {
  if (outcome("docker", ["info"]).exit !== 0) {
    skip("all: no Docker engine answers");
    return;
  }
  step("build");
  const base = process.env.IMAGE_BASE ? ["--build-arg", `BASE_IMAGE=${process.env.IMAGE_BASE}`] : [];
  const built = outcome(process.execPath, [cog, "build", "--target", "cpu", "-t", image, ...base], {
    stdio: "inherit",
  });
  if (built.exit !== 0) throw new Error("cog build failed");
  checkLabels();
  step("run, not as root, with a read-only root file system");
  await checkServing();
  const client = goClient();
  if (client === undefined) {
    skip("what the Go client does: there is none (name one in COG_GO_CLIENT)");
    return;
  }
  step(`the Go client: ${outcome(client, ["--version"]).stdout.trim()}`);
  const folder = mkdtempSync(join(tmpdir(), "image-test-"));
  try {
    checkGoRuns(client, folder);
    checkGoBuild(client, folder);
    checkInit(client, folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  step("recorded cases of the Go client");
  if (!(await runCases({ client, image, check }))) skip("recorded cases: they are not beside this checkout");
}

function checkLabels() {
  const [{ Config, Size }] = JSON.parse(docker("image", "inspect", image));
  const config = JSON.parse(Config.Labels["run.cog.config"]);
  const schema = JSON.parse(Config.Labels["run.cog.openapi_schema"]);
  check("the label says that the CPU image wants no GPU", config.build.gpu === false, JSON.stringify(config));
  check("the label holds the schema", Boolean(schema.paths["/predictions"] && schema.paths["/trainings"]));
  check("the image does not run as root", !["", "0", "root"].includes(Config.User), Config.User);
  console.log(`     ${Math.round(Size / 1e6)} MB`);
}

async function checkServing() {
  const before = Date.now();
  const locked = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"];
  const id = docker("run", "--detach", "--publish", "127.0.0.1::5000", ...locked, image);
  try {
    const url = `http://${docker("port", id, "5000/tcp").split("\n")[0]}`;
    let health;
    while (health?.status !== "READY" && Date.now() - before < 120_000) {
      health = await ask(`${url}/health-check`).catch(() => undefined); // not up yet
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    check(
      `the server is ready (${((Date.now() - before) / 1000).toFixed(1)} s)`,
      health?.status === "READY",
      docker("logs", id),
    );
    checkSchema(image, await askText(`${url}/openapi.json`));
    check("it runs as an ordinary user", docker("exec", id, "id", "-u") !== "0");
    const input = { prompt: "Tell me something about alpacas.", temperature: 0, max_new_tokens: 16 };
    const { status, output, error } = await ask(`${url}/predictions`, { input });
    check("a prediction over HTTP succeeds", status === "succeeded" && output.join("").length > 0, error);
    const words = ["node", "scripts/cog.mjs", "predict", "-i", "prompt=Hello", "-i", "max_new_tokens=2"];
    const other = outcome("docker", ["exec", "--env", "LLAMA_ENGINE=tensorflow", id, ...words]);
    check(
      "an engine that the image does not hold is refused by name",
      other.exit === 1 && other.stderr.includes("no TensorFlow.js backend loads"),
      other.stderr,
    );
    const stopping = Date.now();
    docker("stop", "--time", "10", id);
    check(`docker stop ends it (${((Date.now() - stopping) / 1000).toFixed(1)} s)`, Date.now() - stopping < 9000);
    check("with exit code 0", docker("inspect", "--format", "{{.State.ExitCode}}", id) === "0");
  } finally {
    docker("rm", "--force", id);
  }
}

/** The JSON that a GET, or a POST of `body`, is answered with. */
async function ask(url, body) {
  return JSON.parse(await askText(url, body));
}

/** Not fetch: it may wait for ever for a port that is not served yet. */
function askText(url, body) {
  return new Promise((resolve, reject) => {
    const headers = { "Content-Type": "application/json" };
    const asked = request(url, { method: body ? "POST" : "GET", headers, agent: false }, (answer) => {
      readText(answer).then(resolve, reject);
    });
    asked.setTimeout(body ? 60_000 : 1000, () => asked.destroy(new Error("no answer"))).on("error", reject);
    asked.end(body && JSON.stringify(body));
  });
}

function checkGoRuns(client, folder) {
  const words = ["-i", "prompt=Tell me something about alpacas.", "-i", "temperature=0", "-i", "max_new_tokens=8"];
  const prediction = outcome(client, ["predict", image, ...words], { cwd: folder });
  check(
    "cog predict IMAGE prints the pieces",
    prediction.exit === 0 && prediction.stdout.startsWith("["),
    prediction.stderr,
  );
  const settings = ["num_epochs=1", "batch_size=4", "val_set_size=0"].flatMap((word) => ["-i", word]);
  const dataset = join(root, "examples", "alpacas.json");
  const training = outcome(client, ["train", image, "-i", `dataset=@${dataset}`, ...settings], { cwd: folder });
  const written = training.exit === 0 ? JSON.parse(readFileSync(join(folder, "weights"), "utf8")).weights : "";
  check("cog train IMAGE writes the adapter", /^data:[^,]*;base64,H4sI/.test(written), training.stderr);
}

/** The real client's own build of this project, as deploy/cog.go.yaml says. */
function checkGoBuild(client, folder) {
  const document = join(folder, "openapi.json");
  writeFileSync(document, outcome(process.execPath, [cog, "schema"]).stdout);
  // For one kind of card: all of them take minutes, and the client has no flag for a build argument.
  const dockerfile = join(folder, "Dockerfile");
  const text = readFileSync(join(root, "Dockerfile"), "utf8");
  writeFileSync(dockerfile, text.replace(/^ARG CUDA_ARCHITECTURES$/m, "ARG CUDA_ARCHITECTURES=90-real"));
  const flags = ["-f", "deploy/cog.go.yaml", "--dockerfile", dockerfile, "--openapi-schema", document];
  const built = outcome(client, ["build", ...flags, "-t", "llama-lora-cog:go"]);
  check("the Go client's own cog build takes the project", built.exit === 0, built.stderr.slice(-2000));
}

await main().catch((error) => check("the test came to its end", false, error.message));
close("image");

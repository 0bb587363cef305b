import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { type BuildFlags, planBuild } from "../../../../src/cog/cli/image/build.ts";
import { readProject } from "../../../../src/cog/project.ts";
import { buildCommand, lastLine, ProjectFolder } from "../command.ts";

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

const stages = "FROM node AS build\nFROM node AS cpu\nfrom cpu as GPU\n";

/** The words of `docker build` for a project of these two files. */
function plan(config: string, flags: BuildFlags = {}, dockerfile = stages) {
  const folder = mkdtempSync(join(tmpdir(), "Cog Build-"));
  folders.push(folder);
  writeFileSync(join(folder, "cog.yaml"), config);
  if (dockerfile) writeFileSync(join(folder, "Dockerfile"), dockerfile);
  const { image, words, layerWords, warnings } = planBuild(readProject(folder, { env: {} }), '{"paths": {}}', flags);
  const after = (all: string[], flag: string) => all.filter((_, i) => all[i - 1] === flag);
  const pairs = after(layerWords, "--label").map((text) => text.split(/=(.*)/s, 2) as [string, string]);
  const labels = new Map(pairs);
  const label = JSON.parse(labels.get("run.cog.config")!);
  const target = after(words, "--target")[0];
  return { folder, image, words, labels, label, target, warnings, args: after(words, "--build-arg") };
}

describe("cog build", () => {
  it("builds the stage that build.gpu asks for, and says in the label what it is", () => {
    const gpu = plan("predict: predict.ts\nbuild:\n  gpu: true\n");
    expect(gpu.target).toBe("gpu");
    expect(gpu.label).toEqual({ predict: "predict.ts", build: { gpu: true } });
    const cpu = plan("predict: predict.ts\nbuild:\n  gpu: true\n", { target: "cpu" });
    expect(cpu.target).toBe("cpu");
    expect(cpu.label.build.gpu).toBe(false);
    expect(plan("predict: predict.ts\n").target).toBe("cpu");
  });

  it("builds the last stage of a Dockerfile that knows neither", () => {
    const { target, label } = plan("run: predict.ts:hello\ncustom: 1\n", {}, "FROM node\n");
    expect(target).toBeUndefined();
    expect(label).toEqual({ predict: "predict.ts:hello", build: { gpu: false }, custom: 1 });
  });

  it("labels the image as Cog's clients read it", () => {
    const { labels } = plan("predict: predict.ts\n");
    expect([...labels.keys()]).toEqual([
      "run.cog.version",
      "run.cog.config",
      "run.cog.openapi_schema",
      "run.cog.pip_freeze",
      "run.cog.has_init",
    ]);
    expect(labels.get("run.cog.openapi_schema")).toBe('{"paths": {}}');
    expect(labels.get("run.cog.has_init")).toBe("true");
  });

  it("names the image after -t, the key image, or the folder, in a form that registries take", () => {
    expect(plan("image: a/b\n", { tag: "c" }).image).toBe("c");
    expect(plan("image: a/b\n").image).toBe("a/b");
    const { folder, image } = plan("");
    expect(image).toBe(`cog-${basename(folder).toLowerCase().replace(" ", "-")}`);
  });

  it("hands Docker's own flags on", () => {
    const { words } = plan("", { cache: false, progress: "plain", secret: ["id=a"], buildArg: ["X=1"] });
    const text = words.join(" ");
    for (const part of ["--no-cache", "--progress plain", "--secret id=a", "--build-arg X=1", "linux/amd64"])
      expect(text).toContain(part);
  });

  it("hands build.system_packages and build.run to a Dockerfile that has a place for them", () => {
    const config = `build:\n  system_packages: [ffmpeg, libpq5=15.1-1]\n  run: ["echo 'a b'", exit 0]\n`;
    const { args, warnings } = plan(config, {}, `${stages}ARG COG_SYSTEM_PACKAGES\nARG COG_BUILD_RUN\n`);
    const run = args[1]!.replace("COG_BUILD_RUN=", "");
    expect(args).toEqual(["COG_SYSTEM_PACKAGES=ffmpeg libpq5=15.1-1", `COG_BUILD_RUN=${run}`]);
    expect(spawnSync("sh", ["-c", run], { encoding: "utf8" })).toMatchObject({ status: 0, stdout: "a b\n" });
    expect(warnings).toEqual([]);
  });

  it.each([
    ["system_packages: [ffmpeg]", /cog\.yaml: build\.system_packages cannot be honoured: .* "ARG COG_SYSTEM_PACKAGES"/],
    ["run: [make]", /build\.run cannot be honoured: .* "ARG COG_BUILD_RUN"/],
    ["system_packages: ffmpeg", /build\.system_packages must be a list/],
    ["system_packages: ['a; rm -rf /']", /"a; rm -rf \/" is not the name of a Debian package/],
    ["run: [{ command: make, mounts: [] }]", /build\.run \{.*\} is not a command/],
    ["python_packages: [torch]", /build\.python_packages cannot be honoured/],
    ["python_requirements: requirements.txt", /build\.python_requirements cannot be honoured/],
    ["pre_install: [make]", /build\.pre_install cannot be honoured/],
    ["cuda: '12.4'", /build\.cuda cannot be honoured/],
    ["gpu: 'yes'", /build\.gpu must be true or false/],
  ])("refuses by name what an image would lack: %s", (line, message) => {
    expect(() => plan(`build:\n  ${line}\n`)).toThrow(message);
  });

  it("warns of keys of the section that change nothing", () => {
    expect(plan("build:\n  python_version: '3.12'\n").warnings).toEqual([
      "build.python_version changes nothing: this image is built by a Dockerfile and holds no Python",
    ]);
  });

  it("says what is missing", () => {
    expect(() => plan("", {}, "")).toThrow(/Dockerfile does not exist/);
    expect(() => plan("", { target: "tpu" })).toThrow('has no stage "tpu"; it has: build, cpu, gpu');
  });
});

describe("the commands", () => {
  beforeAll(buildCommand);

  it("build with Docker, push what was built, and print by which name it can be pulled", async () => {
    const digest = `example.com/a/b@sha256:${"0".repeat(64)}`;
    // Stands for Docker: notes its words, and knows the digest that a registry gave.
    const docker = `#!/bin/sh\nprintf '%s\\n' "$*" >> "$NOTES"\nfor last; do :; done\n[ -e "$last/openapi_schema.json" ] && cp "$last/openapi_schema.json" "$NOTES.schema"\n[ "$1" = image ] && echo "other@sha256:1\n${digest}"\nexit 0\n`;
    const project = new ProjectFolder("echo", { Dockerfile: stages, "bin/docker": docker });
    chmodSync(join(project.path, "bin", "docker"), 0o755);
    const notes = join(project.path, "notes");
    try {
      const env = { PATH: `${join(project.path, "bin")}:${process.env.PATH}`, NOTES: notes };
      const result = await project.run(["push", "example.com/a/b"], { env });
      expect([result.exit, result.stdout]).toEqual([0, `${digest}\n`]);
      const [build, labelled, push] = readFileSync(notes, "utf8").split("\n");
      expect(build).toContain("build --platform linux/amd64 --tag example.com/a/b --file");
      expect(labelled).toContain("build --platform linux/amd64 --tag example.com/a/b --label");
      expect(labelled).toContain(`--label run.cog.openapi_schema=${readFileSync(`${notes}.schema`, "utf8")} --label`);
      expect(labelled).toMatch(/--label run\.cog\.push_id=[0-9a-f-]{36} /);
      expect(labelled).toContain('--label run.cog.config={"build":{"gpu":false},"predict":"predict.ts"}');
      expect(push).toBe("push example.com/a/b");
      const failing = await project.run(["build"], { env: { ...env, PATH: `${project.path}/none:/nowhere` } });
      expect([failing.exit, failing.stderr]).toEqual([1, expect.stringContaining("docker is not installed")]);
    } finally {
      project.remove();
    }
  });

  it("stop before anything is built", async () => {
    const project = new ProjectFolder("echo", { "schema.json": "[]" });
    try {
      const noFile = await project.run(["build"]);
      expect(noFile.exit).toBe(1);
      expect(noFile.stderr).toContain("Dockerfile does not exist\n");
      const noSchema = await project.run(["build", "--openapi-schema", "schema.json"]);
      expect(lastLine(noSchema.stderr)).toBe("error [PROJECT_CONFIG]: schema.json is not an OpenAPI document in JSON");
      const noName = await project.run(["push"]);
      expect(noName.exit).toBe(1);
      expect(noName.stderr).toMatch(/^To push images, you must either set the 'image' option in cog\.yaml or pass/);
    } finally {
      project.remove();
    }
  });
});

import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { CodedError } from "../../../errors/index.ts";
import { Failure, systemErrorText } from "../../../terminal/failure.ts";
import { say } from "../../../terminal/streams.ts";
import type { Project } from "../../project.ts";
import { packageVersion } from "../../serve.ts";
import { localDocument } from "../run/document.ts";
import { localModel } from "../run/local.ts";
import { buildSection } from "./build-section.ts";
import { docker } from "./docker.ts";
import { imageLabels } from "./labels.ts";

/**
 * Dockerfiles take this package from build contexts of its name. Its dist/ is one of its own: the package's .dockerignore
 * leaves it out, as its own image builds it.
 */
const packageFolder = fileURLToPath(new URL("../../../..", import.meta.url));

export interface BuildFlags {
  file?: string;
  tag?: string;
  target?: string;
  dockerfile?: string;
  openapiSchema?: string;
  platform?: string;
  progress?: string;
  cache?: boolean;
  secret?: string[];
  buildArg?: string[];
}

/** Two `docker build`s that are fully decided: nothing of them depends on anything but these words. */
export interface BuildPlan {
  image: string;
  /** Of the Dockerfile. */
  words: string[];
  /** Of the layer on top, which holds the schema's file and the labels; the folder that it is built from comes last. */
  layerWords: string[];
  warnings: readonly string[];
}

/** The schema lies where the server of other Cog images reads it, below the working directory. */
const layer = (image: string) => `FROM ${image}\nCOPY openapi_schema.json .cog/openapi_schema.json\n`;

/**
 * Builds the project's Dockerfile as a Cog image, with the schema's file and the labels, and returns the image's name.
 * `name` wins over `-t`, the key `image` and the folder's name; `extra` are labels besides.
 */
export async function buildImage(
  flags: BuildFlags,
  name?: string,
  extra?: ReadonlyMap<string, string>,
): Promise<string> {
  const model = localModel({ config: flags.file, mode: undefined, env: [], debug: false });
  const schema = flags.openapiSchema ? schemaText(flags.openapiSchema) : JSON.stringify(await localDocument(model));
  const plan = planBuild(model.project, schema, flags, name, extra);
  say(`Building Docker image from ${model.project.configFile ?? "the environment"} as ${plan.image}`);
  say();
  for (const line of plan.warnings) say(`warning: ${line}`);
  // BuildKit builds only the stages that the target needs.
  const env = { ...process.env, DOCKER_BUILDKIT: "1" };
  await docker(plan.words, env);
  const folder = await mkdtemp(join(tmpdir(), "cog-build-"));
  try {
    await writeFile(join(folder, "Dockerfile"), layer(plan.image));
    await writeFile(join(folder, "openapi_schema.json"), schema);
    await docker([...plan.layerWords, folder], env);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return plan.image;
}

/** @throws Failure when there is no Dockerfile, or it lacks the target; CodedError PROJECT_CONFIG for what it cannot honour */
export function planBuild(
  project: Project,
  schema: string,
  flags: BuildFlags,
  name?: string,
  extra: ReadonlyMap<string, string> = new Map(),
): BuildPlan {
  const dockerfile = flags.dockerfile === undefined ? join(project.dir, "Dockerfile") : resolve(flags.dockerfile);
  const text = dockerfileText(dockerfile);
  const stages = stagesOf(text);
  const target = flags.target ?? [project.gpu ? "gpu" : "cpu"].find((stage) => stages.has(stage));
  if (flags.target !== undefined && !stages.has(flags.target.toLowerCase()))
    throw new Failure(`${dockerfile} has no stage "${flags.target}"; it has: ${[...stages].join(", ") || "none"}`);
  const section = buildSection(project, text);
  const image = name ?? flags.tag ?? project.image ?? `cog-${imageName(basename(project.dir))}`;
  const gpu = target === "cpu" ? false : target === "gpu" ? true : project.gpu;
  const labels = imageLabels({ project, schema, version: packageVersion(), gpu });
  const common = [
    ...["build", "--platform", flags.platform ?? "linux/amd64", "--tag", image],
    ...(flags.progress === undefined ? [] : ["--progress", flags.progress]),
  ];
  const words = [
    ...common,
    ...["--file", dockerfile],
    ...["--build-context", `llama-lora-cog=${packageFolder}`],
    ...["--build-context", `llama-lora-cog-dist=${join(packageFolder, "dist")}`],
    ...(target === undefined ? [] : ["--target", target]),
    ...(flags.cache === false ? ["--no-cache"] : []),
    ...(flags.secret ?? []).flatMap((secret) => ["--secret", secret]),
    ...[...section.arguments].flatMap(([key, value]) => ["--build-arg", `${key}=${value}`]),
    ...(flags.buildArg ?? []).flatMap((argument) => ["--build-arg", argument]),
    project.dir,
  ];
  const layerWords = [...common, ...[...labels, ...extra].flatMap(([key, value]) => ["--label", `${key}=${value}`])];
  return { image, words, layerWords, warnings: section.warnings };
}

function dockerfileText(dockerfile: string): string {
  if (existsSync(dockerfile)) return readFileSync(dockerfile, "utf8");
  throw new Failure(`${dockerfile} does not exist`, {
    hint: "Write one (`cog init` in this folder does, and leaves other files as they are), or name it with --dockerfile.",
  });
}

/** Names of the Dockerfile's stages, in lower case. */
function stagesOf(text: string): Set<string> {
  return new Set(
    [...text.matchAll(/^[ \t]*FROM[ \t]+.*[ \t]AS[ \t]+(\S+)/gim)].map(([, stage]) => stage!.toLowerCase()),
  );
}

/** A folder's name as part of an image's: registries know lower case only. */
function imageName(folder: string): string {
  return (
    folder
      .toLowerCase()
      .replace(/[^a-z0-9]+/g, "-")
      .replace(/^-+|-+$/g, "") || "model"
  );
}

/** The text of a schema file, unchanged. @throws CodedError PROJECT_CONFIG when it is no JSON object */
function schemaText(file: string): string {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw new Failure(`open ${file}: ${systemErrorText(error)}`);
  }
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return text;
  } catch {
    // Told below.
  }
  throw new CodedError("PROJECT_CONFIG", `${file} is not an OpenAPI document in JSON`);
}

import { existsSync, readFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { CodedError } from "../../../errors/index.ts";
import type { Project } from "../../project.ts";
import { packageVersion } from "../../serve.ts";
import { Failure, systemErrorText } from "../failure.ts";
import { localDocument } from "../run/document.ts";
import { localModel } from "../run/local.ts";
import { say } from "../terminal.ts";
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

/** A `docker build` that is fully decided: nothing of it depends on anything but these words. */
export interface BuildPlan {
  image: string;
  words: string[];
}

/**
 * Builds the project's Dockerfile with the labels of a Cog image and returns the image's name.
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
  // BuildKit builds only the stages that the target needs.
  await docker(plan.words, { ...process.env, DOCKER_BUILDKIT: "1" });
  return plan.image;
}

/** @throws Failure when there is no Dockerfile, or it lacks the target */
export function planBuild(
  project: Project,
  schema: string,
  flags: BuildFlags,
  name?: string,
  extra: ReadonlyMap<string, string> = new Map(),
): BuildPlan {
  const dockerfile = flags.dockerfile === undefined ? join(project.dir, "Dockerfile") : resolve(flags.dockerfile);
  const stages = stagesOf(dockerfile);
  const target = flags.target ?? [project.gpu ? "gpu" : "cpu"].find((stage) => stages.has(stage));
  if (flags.target !== undefined && !stages.has(flags.target.toLowerCase()))
    throw new Failure(`${dockerfile} has no stage "${flags.target}"; it has: ${[...stages].join(", ") || "none"}`);
  const image = name ?? flags.tag ?? project.image ?? `cog-${imageName(basename(project.dir))}`;
  const gpu = target === "cpu" ? false : target === "gpu" ? true : project.gpu;
  const labels = imageLabels({ project, schema, version: packageVersion(), gpu });
  const words = [
    ...["build", "--platform", flags.platform ?? "linux/amd64", "--file", dockerfile, "--tag", image],
    ...["--build-context", `llama-lora-cog=${packageFolder}`],
    ...["--build-context", `llama-lora-cog-dist=${join(packageFolder, "dist")}`],
    ...(target === undefined ? [] : ["--target", target]),
    ...(flags.cache === false ? ["--no-cache"] : []),
    ...(flags.progress === undefined ? [] : ["--progress", flags.progress]),
    ...(flags.secret ?? []).flatMap((secret) => ["--secret", secret]),
    ...(flags.buildArg ?? []).flatMap((argument) => ["--build-arg", argument]),
    ...[...labels, ...extra].flatMap(([key, value]) => ["--label", `${key}=${value}`]),
    project.dir,
  ];
  return { image, words };
}

/** Names of the Dockerfile's stages, in lower case. */
function stagesOf(dockerfile: string): Set<string> {
  if (!existsSync(dockerfile))
    throw new Failure(`${dockerfile} does not exist`, {
      hint: "Write one (`cog init` in this folder does, and leaves other files as they are), or name it with --dockerfile.",
    });
  const text = readFileSync(dockerfile, "utf8");
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

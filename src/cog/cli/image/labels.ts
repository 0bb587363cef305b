import { execFileSync } from "node:child_process";
import type { Project } from "../../project.ts";

export interface LabelSources {
  project: Project;
  /** The model's OpenAPI document as JSON text. */
  schema: string;
  /** Of this package. */
  version: string;
  /** What the image is for, whatever cog.yaml's build.gpu says. */
  gpu: boolean;
}

/**
 * The labels by which other Cog clients know an image as a model (Cog 0.22, pkg/image and pkg/docker/command): its
 * configuration, its schema, who built it, and the revision where the project is a Git checkout.
 */
export function imageLabels({ project, schema, version, gpu }: LabelSources): Map<string, string> {
  const labels = new Map([
    ["run.cog.version", version],
    ["run.cog.config", JSON.stringify(labelConfig(project.config, gpu))],
    ["run.cog.openapi_schema", schema],
    // There is no Python inside.
    ["run.cog.pip_freeze", ""],
    ["run.cog.has_init", "true"],
  ]);
  const revision = git(project.dir, ["rev-parse", "HEAD"]);
  if (revision) labels.set("org.opencontainers.image.revision", revision);
  const tag = git(project.dir, ["describe", "--tags", "--dirty"]);
  if (tag) labels.set("org.opencontainers.image.version", tag);
  return labels;
}

/** cog.yaml as clients expect it in the label: `run` under its older name, `build` always there. */
function labelConfig(config: Project["config"], gpu: boolean): Record<string, unknown> {
  const { run, predict = run, build, ...rest } = config;
  return {
    build: { ...(build as Record<string, unknown> | null | undefined), gpu },
    ...(predict == null ? {} : { predict }),
    ...rest,
  };
}

/** One line of Git's answer; undefined without Git, outside a checkout, or without a tag. */
function git(dir: string, words: readonly string[]): string | undefined {
  try {
    const answer = execFileSync("git", words, { cwd: dir, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
    return answer.trim() || undefined;
  } catch {
    return undefined;
  }
}

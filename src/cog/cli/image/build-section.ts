import { CodedError } from "../../../errors/index.ts";
import type { Project } from "../../project.ts";

/** What cog.yaml's `build` asks of an image, for a Dockerfile to carry out. */
export interface BuildSection {
  /** Arguments of the Dockerfile by name; only those that the section gives a value. */
  arguments: ReadonlyMap<string, string>;
  /** One line for each key that changes nothing here. */
  warnings: readonly string[];
}

/** Names of Debian packages as apt-get takes them, with an architecture or a version. */
const packageName = /^[a-z0-9][a-z0-9+.-]*(?::[a-z0-9]+)?(?:=[A-Za-z0-9.+:~-]+)?$/;

/** Keys that other Cog builds carry out and this one cannot, with what to do instead. */
const refused: Record<string, string> = {
  python_packages: "there is no Python in the image: install npm packages in the project's folder",
  python_requirements: "there is no Python in the image: install npm packages in the project's folder",
  pre_install: "write its commands into build.run",
  cuda: "the Dockerfile decides it: name another base image there",
  cudnn: "the Dockerfile decides it: name another base image there",
};
const known = new Set(["gpu", "system_packages", "run", ...Object.keys(refused)]);

/**
 * Reads the section. `dockerfile` is the Dockerfile's text: what it has no place for cannot be honoured.
 * @throws CodedError PROJECT_CONFIG with the key and what to do
 */
export function buildSection({ config, configFile }: Project, dockerfile: string): BuildSection {
  const wrong = (key: string, problem: string, hint?: string) =>
    new CodedError("PROJECT_CONFIG", `${configFile ?? "cog.yaml"}: build.${key} ${problem}`, { hint });
  const section = (config.build ?? {}) as Record<string, unknown>;
  for (const [key, hint] of Object.entries(refused)) {
    if (section[key] != null) throw wrong(key, "cannot be honoured", hint);
  }
  if (section.gpu != null && typeof section.gpu !== "boolean") throw wrong("gpu", "must be true or false");
  const list = (key: string): unknown[] => {
    const value = section[key] ?? [];
    if (!Array.isArray(value)) throw wrong(key, "must be a list");
    return value;
  };
  const packages = list("system_packages").map((name) => {
    if (typeof name === "string" && packageName.test(name)) return name;
    throw wrong("system_packages", `${JSON.stringify(name)} is not the name of a Debian package`);
  });
  const commands = list("run").map((command) => {
    if (typeof command === "string" && command.trim() !== "") return command;
    throw wrong("run", `${JSON.stringify(command)} is not a command`, "Mounts are for the Dockerfile: RUN --mount=…");
  });
  const values: [key: string, argument: string, value: string][] = [
    ["system_packages", "COG_SYSTEM_PACKAGES", packages.join(" ")],
    ["run", "COG_BUILD_RUN", commands.map((command) => `sh -c ${quoted(command)}`).join(" && ")],
  ];
  const asked = values.filter(([, , value]) => value !== "");
  for (const [key, argument] of asked) {
    if (!new RegExp(`^[ \\t]*ARG[ \\t]+(?:.*[ \\t])?${argument}\\b`, "im").test(dockerfile))
      throw wrong(
        key,
        `cannot be honoured: the Dockerfile has no line "ARG ${argument}"`,
        "Write what is wanted into the Dockerfile, or take the lines for it from one that `cog init` writes.",
      );
  }
  return {
    arguments: new Map(asked.map(([, argument, value]) => [argument, value])),
    warnings: Object.keys(section)
      .filter((key) => !known.has(key))
      .map((key) => `build.${key} changes nothing: this image is built by a Dockerfile and holds no Python`),
  };
}

/** A word of a POSIX shell. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

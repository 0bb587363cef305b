// The schema that an image carries: as a file, and as a label.
import { check, outcome } from "./checks.mjs";

/** @returns what `docker` prints. @throws Error when it does not succeed */
export function docker(...words) {
  const { exit, stdout, stderr } = outcome("docker", words);
  if (exit !== 0) throw new Error(`docker ${words[0]}: ${stderr}`);
  return stdout.trim();
}

/** The file in the image's working directory, its label, and what the server answers where that is known. */
export function checkSchema(image, answered) {
  const file = docker("run", "--rm", "--entrypoint", "cat", image, ".cog/openapi_schema.json");
  const label = docker("image", "inspect", "--format", '{{index .Config.Labels "run.cog.openapi_schema"}}', image);
  check(`${image} holds .cog/openapi_schema.json, equal to its label`, file === label && file.startsWith("{"), file);
  if (answered !== undefined) check("and to what its server answers", file === answered, answered);
}

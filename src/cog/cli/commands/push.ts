import { randomUUID } from "node:crypto";
import { Failure } from "../../../terminal/failure.ts";
import { print, say } from "../../../terminal/streams.ts";
import { readProject } from "../../project.ts";
import { type BuildFlags, buildImage } from "../image/build.ts";
import { docker, dockerOutput } from "../image/docker.ts";

/** `cog push [image]`: builds, pushes, and prints the name by which exactly this image can be pulled. */
export async function push(image: string | undefined, flags: BuildFlags): Promise<void> {
  const project = readProject(process.cwd(), flags.file === undefined ? {} : { file: flags.file });
  const name = image ?? project.image;
  if (name === null)
    throw new Failure(
      "To push images, you must either set the 'image' option in cog.yaml or pass an image name as an argument. " +
        "For example, 'cog push registry.example.com/your-username/model-name'",
    );
  await buildImage(flags, name, new Map([["run.cog.push_id", randomUUID()]]));
  say();
  say(`Pushing image '${name}'...`);
  await docker(["push", name]);
  const digests = await dockerOutput(["image", "inspect", "--format", '{{join .RepoDigests "\\n"}}', name]);
  const repository = name.replace(/:[^/:]*$/, "");
  const digest = digests.split("\n").find((line) => line.startsWith(`${repository}@`)) ?? name;
  await print(`${digest}\n`);
}

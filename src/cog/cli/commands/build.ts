import { say } from "../../../terminal/streams.ts";
import { type BuildFlags, buildImage } from "../image/build.ts";

/** `cog build`: the project's Dockerfile as an image with the labels of a Cog model. */
export async function build(flags: BuildFlags): Promise<void> {
  const image = await buildImage(flags);
  say();
  say(`Image built as ${image}`);
}

import { print } from "../../../terminal/streams.ts";
import { localDocument } from "../run/document.ts";
import { localModel } from "../run/local.ts";

/** `cog schema`: the model's OpenAPI document on standard output, without loading the model. */
export async function schema({ file }: { file?: string }): Promise<void> {
  const model = localModel({ config: file, mode: undefined, env: [], debug: false });
  await print(`${JSON.stringify(await localDocument(model), undefined, 2)}\n`);
}

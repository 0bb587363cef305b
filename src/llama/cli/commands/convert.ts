import type { WeightType } from "../../../engine/engine.ts";
import { interruptible } from "../../../terminal/interrupt.ts";
import { say } from "../../../terminal/streams.ts";
import { describeCheckpoint, openCheckpoint } from "../../checkpoint/index.ts";
import { convertMetaModel, isMetaModel } from "../convert/meta-model.ts";
import { writeFolder } from "../destination.ts";
import { writeModel } from "../model-to-write.ts";

export interface ConvertFlags {
  readonly dtype?: WeightType;
  readonly force?: boolean;
}

/** Writes a model, in whatever form it is, as a Hugging Face folder. */
export async function convert(given: string, out: string, { dtype, force = false }: ConvertFlags): Promise<void> {
  await interruptible((signal) =>
    writeFolder(out, { force, inputs: [given] }, async (folder) => {
      if (await isMetaModel(given)) {
        await convertMetaModel(given, folder, { dtype, signal });
        return;
      }
      const model = await openCheckpoint(given);
      say(describeCheckpoint(model));
      for (const warning of model.warnings) say(`warning: ${warning}`);
      await writeModel(folder, model, { dtype, signal, what: "Converting" });
    }),
  );
  say(`Written to ${out}`);
}

import type { WeightType } from "../../../engine/engine.ts";
import { interruptible } from "../../../terminal/interrupt.ts";
import { say } from "../../../terminal/streams.ts";
import { describeCheckpoint, openCheckpoint } from "../../checkpoint/index.ts";
import { writeFolder } from "../destination.ts";
import { writeModel } from "../model-to-write.ts";

export interface ConvertFlags {
  readonly dtype?: WeightType;
  readonly force?: boolean;
}

/** Writes a model, in whatever form it is, as a Hugging Face folder. */
export async function convert(given: string, out: string, flags: ConvertFlags): Promise<void> {
  await interruptible((signal) =>
    writeFolder(out, { force: flags.force ?? false, inputs: [given] }, async (folder) => {
      const model = await openCheckpoint(given);
      say(describeCheckpoint(model));
      for (const warning of model.warnings) say(`warning: ${warning}`);
      await writeModel(folder, model, { dtype: flags.dtype, signal, what: "Converting" });
    }),
  );
  say(`Written to ${out}`);
}

import { Failure } from "../../../terminal/failure.ts";
import { interruptible } from "../../../terminal/interrupt.ts";
import { say } from "../../../terminal/streams.ts";
import type { GgufType } from "../../checkpoint/gguf/written-model.ts";
import { describeCheckpoint, openCheckpoint } from "../../checkpoint/index.ts";
import { writeFile } from "../destination.ts";
import { exportGguf } from "../export/gguf-model.ts";
import { factorsFor, readTerms } from "./merge.ts";

export interface ExportFlags {
  readonly output: string;
  readonly type?: GgufType;
  readonly scale?: readonly number[];
  readonly force?: boolean;
}

/** Writes a model, with adapters in it, for another program. */
export async function exportModel(base: string, adapters: readonly string[], flags: ExportFlags): Promise<void> {
  const factors = factorsFor(adapters, flags.scale);
  const options = { force: flags.force ?? false, inputs: [base, ...adapters] };
  if (!/\.gguf$/i.test(flags.output)) throw new Failure(`${flags.output}: the file's name must end in .gguf`);
  await interruptible((signal) =>
    writeFile(flags.output, options, async (file) => {
      const model = await openCheckpoint(base);
      say(describeCheckpoint(model));
      for (const warning of model.warnings) say(`warning: ${warning}`);
      const terms = await readTerms(adapters, factors, model.config, model.publishedName, signal);
      await exportGguf(file, model, { type: flags.type ?? "F16", terms, signal });
    }),
  );
  say(`Written to ${flags.output}`);
}

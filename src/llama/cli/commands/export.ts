import type { WeightType } from "../../../engine/engine.ts";
import { Failure } from "../../../terminal/failure.ts";
import { interruptible } from "../../../terminal/interrupt.ts";
import { say } from "../../../terminal/streams.ts";
import type { GgufType } from "../../checkpoint/gguf/written-model.ts";
import { describeCheckpoint, isWeightType, openCheckpoint } from "../../checkpoint/index.ts";
import { writeFile, writeFolder } from "../destination.ts";
import { exportAdapter, isAdapter } from "../export/gguf-adapter.ts";
import { exportGguf } from "../export/gguf-model.ts";
import { exportMeta } from "../export/meta-model.ts";
import { factorsFor, readChanges } from "./merge.ts";

export interface ExportFlags {
  readonly output: string;
  readonly type?: GgufType;
  readonly scale?: readonly number[];
  readonly base?: string;
  readonly meta?: boolean;
  readonly force?: boolean;
}

/** Writes a model, with adapters in it, or an adapter alone, for another program. */
export async function exportModel(given: string, adapters: readonly string[], flags: ExportFlags): Promise<void> {
  const isGguf = /\.gguf$/i.test(flags.output);
  if (!flags.meta && !isGguf) throw new Failure(`${flags.output}: the file's name must end in .gguf`);
  if (flags.meta && isGguf) throw new Failure(`${flags.output}: --meta writes a folder`);
  const alone = await isAdapter(given);
  if (alone && flags.meta) throw new Failure(`${given}: is an adapter, for which Meta has no format`);
  if (alone) refuseForAdapter(given, adapters, flags);
  else if (flags.base !== undefined) throw new Failure("--base is for an adapter alone");
  const factors = factorsFor(alone ? [given] : adapters, flags.scale);
  const options = { force: flags.force ?? false, inputs: [given, ...adapters] };
  const write = flags.meta ? writeFolder : writeFile;
  await interruptible((signal) =>
    write(flags.output, options, async (path) => {
      if (alone) {
        const { base, type = "F32" } = flags;
        await exportAdapter(path, given, { base: base!, type, factor: factors[0]!, signal });
        return;
      }
      const model = await openCheckpoint(given);
      say(describeCheckpoint(model));
      for (const warning of model.warnings) say(`warning: ${warning}`);
      const changes = await readChanges(adapters, factors, model, signal);
      if (flags.meta) await exportMeta(path, model, { dtype: plain(flags.type), changes, signal });
      else await exportGguf(path, model, { type: flags.type ?? "F16", changes, signal });
    }),
  );
  say(`Written to ${flags.output}`);
}

function refuseForAdapter(given: string, adapters: readonly string[], { base }: ExportFlags): void {
  if (adapters.length > 0) {
    throw new Failure(`${given}: is an adapter; one is written at a time`, {
      hint: "Put them into one first with `llama-lora combine`.",
    });
  }
  if (base === undefined) {
    throw new Failure(`${given}: is an adapter; name the model it is for with --base`, {
      hint: "The order of its rows depends on the model's heads.",
    });
  }
}

function plain(type: GgufType | undefined): WeightType | undefined {
  if (type === undefined || isWeightType(type)) return type;
  throw new Failure(`--type ${type.toLowerCase()}: Meta's format has f32, f16 and bf16`);
}

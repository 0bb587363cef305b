import { asCalled } from "../../../terminal/called-as.ts";
import { Failure } from "../../../terminal/failure.ts";
import { interruptible } from "../../../terminal/interrupt.ts";
import { print } from "../../../terminal/streams.ts";
import type { Finding } from "../doctor/finding.ts";
import { memory, nodeVersion, port, temporaryFiles } from "../doctor/machine.ts";
import { declaration, found, setup, weights } from "../doctor/model.ts";
import { type LocalModel, localModel } from "../run/local.ts";

interface DoctorFlags {
  env?: string[];
  file?: string;
}

/** `cog doctor`: one line for each thing that a run needs, with what to do about those that are missing; exit code 1 if any is. */
export async function doctor(flags: DoctorFlags): Promise<void> {
  let errors = 0;
  const tell = async (finding: Finding) => {
    if (finding.level === "error") errors += 1;
    await print(asCalled(`${finding.level.padEnd(5)}  ${indented(finding.text)}\n`));
    if (finding.hint) await print(asCalled(`       ${indented(finding.hint)}\n`));
  };
  await interruptible(async (signal) => {
    await tell(nodeVersion());
    await tell(memory());
    await tell(temporaryFiles());
    await tell(await port());
    const model = await project(flags, tell);
    if (model === undefined) return;
    const modes = (["predict", "train"] as const).filter((mode) => model.project[mode] !== null);
    for (const mode of modes) await tell(await declaration(model, mode, signal));
    const adapter = weights(model.env, model.project.dir);
    if (adapter) await tell(adapter);
    // Would only say the same again.
    if (errors === 0) await tell(await setup(model, signal));
  });
  if (errors > 0) throw new Failure(`${errors} ${errors === 1 ? "problem" : "problems"} found`);
}

/** Further lines stand below the first. */
function indented(text: string): string {
  return text.replace(/\n(?=.)/g, "\n       ");
}

async function project(flags: DoctorFlags, tell: (finding: Finding) => Promise<void>): Promise<LocalModel | undefined> {
  try {
    const model = localModel({ config: flags.file, mode: undefined, env: flags.env ?? [], debug: false });
    await tell({ level: "ok", text: `configuration: ${model.project.configFile ?? "from the environment"}` });
    return model;
  } catch (error) {
    await tell(found("configuration: ", error, "Correct the file; docs/cli.md lists its keys."));
    return undefined;
  }
}

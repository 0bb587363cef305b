import { isCodedError } from "../../../errors/index.ts";
import { asCalled } from "../../../terminal/called-as.ts";
import { Failure } from "../../../terminal/failure.ts";
import { interruptible } from "../../../terminal/interrupt.ts";
import { print } from "../../../terminal/streams.ts";
import { inspectPath } from "../inspect/inspect.ts";
import { reportText } from "../inspect/text.ts";

export interface InspectFlags {
  readonly json?: boolean;
  readonly values?: boolean;
}

/** Prints what a file or folder is. One that is broken ends the command with exit code 1. */
export async function inspect(path: string, { json = false, values = false }: InspectFlags): Promise<void> {
  try {
    const report = await interruptible((signal) => inspectPath(path, { values, signal }));
    await print(json ? `${JSON.stringify(report, null, 2)}\n` : asCalled(reportText(report)));
    if (report.state === "broken") throw new Failure("");
  } catch (error) {
    if (json && isCodedError(error)) {
      const { code, message, hint } = error;
      await print(`${JSON.stringify({ path, state: "broken", error: { code, message, hint } }, null, 2)}\n`);
    }
    throw error;
  }
}

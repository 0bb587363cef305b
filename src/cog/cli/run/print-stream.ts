import { Failure } from "../../../terminal/failure.ts";
import { print } from "../../../terminal/streams.ts";
import type { Schema } from "../input/schema.ts";
import type { LiveLine } from "../live/live-line.ts";
import type { Metric } from "../live/measured.ts";
import type { RunAnswer } from "./client.ts";
import type { ServerEvent } from "./events.ts";

/**
 * Prints the pieces of an output as they come: joined where the model says that they are one text, else one to a line
 * (text as it is, everything else as JSON). Returns the run's last state.
 */
export async function printStream(
  events: AsyncIterable<ServerEvent>,
  schema: Schema | undefined,
  live?: LiveLine,
): Promise<RunAnswer> {
  const joined = schema?.["x-cog-array-display"] === "concatenate";
  let unfinishedLine = false;
  try {
    for await (const { event, data } of events) {
      if (event === "output") {
        const { chunk } = data as { chunk: unknown };
        const text = typeof chunk === "string" ? chunk : JSON.stringify(chunk);
        await print(joined ? text : `${text}\n`);
        unfinishedLine = joined;
      } else if (event === "metric") live?.measured(data as Metric);
      else if (event === "completed") return data as RunAnswer;
      else if (event === "error")
        throw new Failure(`The event stream broke off: ${(data as { error?: string }).error}`);
    }
  } finally {
    if (unfinishedLine) await print("\n");
  }
  throw new Failure("The event stream ended before the run did");
}

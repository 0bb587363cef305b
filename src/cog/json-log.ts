import { type Logger, pino } from "pino";
import type { LogFields, LogLevel } from "./log.ts";
import { withoutControls } from "./shown-text.ts";

export type WriteLine = (level: LogLevel, target: string, message: string, fields: LogFields) => void;

/** One JSON object per line as Cog writes them: `timestamp`, `level`, `target`, and `fields` with the message. */
export function jsonLines(write: (line: string) => void): WriteLine {
  const root = pino(
    {
      // Whoever calls has looked at the level already.
      level: "trace",
      base: null,
      timestamp: () => `,"timestamp":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label.toUpperCase() }) },
      nestedKey: "fields",
    },
    // JSON may hold C1 controls and line ends of Unicode as they are; terminals and other readers of lines act on them.
    { write: (line: string) => write(withoutControls(line)) },
  );
  const byTarget = new Map<string, Logger>();
  return (level, target, message, fields) => {
    let logger = byTarget.get(target);
    if (logger === undefined) {
      logger = root.child({ target });
      byTarget.set(target, logger);
    }
    logger[level]({ message, ...fields });
  };
}

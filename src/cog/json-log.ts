import { type Logger, pino } from "pino";
import type { LogFields, LogLevel } from "./log.ts";

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
    { write },
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

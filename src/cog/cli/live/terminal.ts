import { writeSync } from "node:fs";
import { lostLines } from "../../log.ts";
import { LogOutput } from "../../log-output.ts";
import { LiveLine } from "./live-line.ts";

type Terminal = Pick<NodeJS.WriteStream, "isTTY">;

/** Whether a line may be drawn again and again: not into a file or a pipe, nor where a machine reads. */
export function canDraw({ isTTY }: Terminal, { TERM, CI }: NodeJS.ProcessEnv): boolean {
  const isMachine = CI !== undefined && !/^(|0|false)$/i.test(CI);
  return isTTY === true && TERM !== "dumb" && !isMachine;
}

/** Whether the terminal knows block characters: it speaks UTF-8, and is no console of Linux, whose font lacks them. */
export function knowsBlocks({ TERM, LC_ALL, LC_CTYPE, LANG }: NodeJS.ProcessEnv): boolean {
  return TERM !== "linux" && /utf-?8/i.test(LC_ALL || LC_CTYPE || LANG || "");
}

/** The live line of this process's standard error; undefined where there is none. It has no colours: NO_COLOR has its way. */
export function liveLineOf(stream: NodeJS.WriteStream = process.stderr, env = process.env): LiveLine | undefined {
  if (!canDraw(stream, env)) return undefined;
  const output = new LogOutput((lines) => live.write(`${lostLines(lines)}\n`));
  const live = new LiveLine({ output, columns: () => stream.columns || 80, blocks: knowsBlocks(env) });
  stream.on("resize", () => live.resized());
  // The shell's prompt stands on a line of its own.
  process.on("exit", () => live.isDrawn && writeSync(2, "\n"));
  return live;
}

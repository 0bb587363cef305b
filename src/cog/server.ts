import { isCodedError } from "../errors/index.ts";
import { packageVersion, parseServeOptions, type RunningServer, serveUsage, startServer } from "./serve.ts";

// The server's entry point: what an image runs, and `python -m cog.server.http` stands for.

const command = parseServeOptions(process.argv.slice(2), process.env);
if (command.action === "version") {
  console.log(packageVersion());
} else if (command.action === "usage") {
  process.stderr.write(`${serveUsage}server: error: ${command.message}\n`);
  process.exitCode = 2;
} else {
  try {
    const server = await startServer(command.options);
    followSignals(server, command.options.awaitExplicitShutdown ?? false);
  } catch (error) {
    const problem = error as Error & { hint?: string };
    process.stderr.write(`error: ${isCodedError(error) ? `[${error.code}] ` : ""}${problem.message}\n`);
    if (problem.hint) process.stderr.write(`hint: ${problem.hint}\n`);
    process.exitCode = 1;
  }
}

/** The first signal lets everything finish; a second one cancels what is running. */
function followSignals(server: RunningServer, ignoresTerm: boolean): void {
  let count = 0;
  let interrupted = false;
  const stop = () => {
    count += 1;
    void server.close({ abort: count > 1 });
  };
  const onInterrupt = () => {
    interrupted = true;
    stop();
  };
  process.on("SIGINT", onInterrupt);
  process.on("SIGTERM", () => {
    if (!ignoresTerm) stop();
  });
  void server.ended.then(() => {
    if (!interrupted) process.exit(0);
    // As upstream: a process that was interrupted says so to its parent.
    process.off("SIGINT", onInterrupt);
    process.kill(process.pid, "SIGINT");
  });
}

import { Failure } from "../../../terminal/failure.ts";
import { say } from "../../../terminal/streams.ts";
import { parseServeOptions, type ServeOptions, startServer } from "../../serve.ts";
import { environment } from "../run/local.ts";

interface ServeFlags {
  port?: string;
  host?: string;
  uploadUrl?: string;
  xMode?: string;
  awaitExplicitShutdown?: string;
  env?: string[];
  file?: string;
}

/** `cog serve`: the project's server in this process until it is told to stop. */
export async function serve(flags: ServeFlags): Promise<void> {
  const words = [
    ["--port", flags.port],
    ["--host", flags.host],
    ["--upload-url", flags.uploadUrl],
    ["--x-mode", flags.xMode],
    ["--await-explicit-shutdown", flags.awaitExplicitShutdown],
  ].flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`]));
  const env: NodeJS.ProcessEnv = { ...process.env, ...environment(flags.env ?? []) };
  // A person reads it.
  if (process.stderr.isTTY) env.LOG_FORMAT ||= "console";
  const command = parseServeOptions(words, env);
  if (command.action !== "serve") throw new Failure(command.action === "usage" ? command.message : "");
  await serveUntilEnd({ ...command.options, ...(flags.file === undefined ? {} : { configFile: flags.file }) });
}

/**
 * Serves until SIGTERM, SIGINT or POST /shutdown. The first signal lets what runs finish, the second cancels it.
 * After SIGINT the process ends by that signal, so that a shell's loop around it ends too.
 */
async function serveUntilEnd(options: ServeOptions): Promise<void> {
  const server = await startServer(options);
  let signals = 0;
  // On a terminal the log has said so, and what the model prints would push the address out of sight.
  if (!process.stderr.isTTY) say(`Listening on ${server.url}`);
  else
    void server.ready.then((isReady) => {
      if (signals > 0) return;
      say(isReady ? `Ready: ${server.url}` : `Setup failed: ${server.url}/health-check tells why`);
      say("Stop with Ctrl-C");
    });
  let interrupted = false;
  const stop = () => server.close({ abort: ++signals > 1 });
  const onTerminate = () => options.awaitExplicitShutdown || stop();
  const onInterrupt = () => {
    interrupted = true;
    void stop();
  };
  process.on("SIGTERM", onTerminate).on("SIGINT", onInterrupt);
  await server.ended;
  process.off("SIGTERM", onTerminate).off("SIGINT", onInterrupt);
  if (interrupted) process.kill(process.pid, "SIGINT");
}

import { Command, InvalidArgumentError, Option } from "commander";
import { Failure } from "../../terminal/failure.ts";
import { quoted } from "../../terminal/shell.ts";
import type { RunOptions } from "./run/run.ts";

const configHelp = "The project's configuration (default: cog.yaml here or in a folder above)";

/** The `cog` command: what can be typed, and which function does it. Each is loaded when it is wanted, so that all start fast. */
export function program(version: string): Command {
  const cog = new Command("cog")
    .description("Train and run the model of this folder (cog.yaml), or run a model that is served elsewhere.")
    .version(`cog version ${version} (TypeScript)`, "--version", "Show the version")
    .option("--debug", "Show debugging output")
    .option("--no-color", "No colours (there are none)")
    .exitOverride();

  runOptions(cog.command("predict").alias("run"), "Run one prediction")
    .option("--stream", "Print the output as it comes")
    .option("-o, --output <path>", "Write the output to this file or folder")
    .option("--use-replicate-token", "Hand REPLICATE_API_TOKEN to the model in the request's context")
    .action((target: string | undefined, options: RunFlags) => run("predict", target, options, cog));

  runOptions(cog.command("train"), "Run one training")
    .option("-o, --output <path>", "Write the trained archive to this file or into this folder")
    .action((target: string | undefined, options: RunFlags) => run("train", target, options, cog));

  cog
    .command("serve")
    .description("Serve the model over HTTP until Ctrl-C")
    .option("-p, --port <port>", "Port (default: the variable PORT, else 5000)")
    .option("--host <address>", "Address to listen on (default: 0.0.0.0)")
    .option("--upload-url <url>", "Send output files there with PUT instead of answering them as data URLs")
    .addOption(new Option("--x-mode <mode>", "Which entry of cog.yaml is loaded").choices(["predict", "train"]))
    .option("--await-explicit-shutdown <value>", "Any text: SIGTERM is ignored, POST /shutdown ends the server")
    .addOption(new Option("--threads <n>").hideHelp())
    .option("-e, --env <NAME=value>", "Variable for the model (repeatable)", collect)
    .option("-f, --file <path>", configHelp)
    .action(async (flags) => (await import("./commands/serve.ts")).serve(flags));

  cog
    .command("schema")
    .description("Print the model's OpenAPI document")
    .option("-f, --file <path>", configHelp)
    .action(async (flags) => (await import("./commands/schema.ts")).schema(flags));

  buildOptions(cog.command("build"))
    .description("Build the project's Dockerfile as an image that Cog's clients know")
    .option("-t, --tag <name>", "Name of the image (default: the key image, else cog-<folder>)")
    .action(async (flags) => (await import("./commands/build.ts")).build(flags));

  buildOptions(cog.command("push"))
    .description("Build the image and push it to its registry")
    .argument("[image]", "name of the image (default: the key image)")
    .action(async (image, flags) => (await import("./commands/push.ts")).push(image, flags));

  cog
    .command("doctor")
    .description("Check that the model of this folder can run here: configuration, declarations, setup, machine")
    .option("-e, --env <NAME=value>", "Variable for the model (repeatable)", collect)
    .option("-f, --file <path>", configHelp)
    .action(async (flags) => (await import("./commands/doctor.ts")).doctor(flags));

  cog
    .command("init")
    .description("Write a small model in TypeScript that runs, into this folder")
    .action(async () => (await import("./commands/init.ts")).init());

  for (const command of [cog, ...cog.commands]) {
    command.exitOverride().configureOutput({
      outputError: (text, write) => write(`${command.helpInformation()}\n${text}`),
    });
  }
  return cog;
}

interface RunFlags {
  input?: string[];
  json?: string;
  output?: string;
  env?: string[];
  stream?: boolean;
  useReplicateToken?: boolean;
  setupTimeout?: number;
  token?: string;
  file?: string;
}

function runOptions(command: Command, description: string): Command {
  return command
    .description(`${description}, with the model of this folder or that of a server (http://host:port)`)
    .argument("[target]", "address of a running server")
    .option("-i, --input <name=value>", "Input; name=@file sends a file (repeatable)", collect)
    .option("-e, --env <NAME=value>", "Variable for the model (repeatable)", collect)
    .option("-f, --file <path>", configHelp)
    .option("--json <text>", "Inputs as a JSON object: text, @file, or - for standard input")
    .option("--token <token>", "What the server asks for (default: the variable COG_AUTH_TOKEN)")
    .option("--setup-timeout <seconds>", "Limit for the model's setup", seconds, 300)
    .addOption(new Option("--gpus <devices>", "Accepted for compatibility; a local model sees all devices").hideHelp());
}

function buildOptions(command: Command): Command {
  return command
    .option("-f, --file <path>", configHelp)
    .option("--target <stage>", "Stage of the Dockerfile (default: gpu or cpu as build.gpu says, where there is one)")
    .option("--dockerfile <path>", "The Dockerfile (default: the one beside cog.yaml)")
    .option("--openapi-schema <path>", "The model's OpenAPI document (default: made from the declarations)")
    .option("--platform <platform>", "Platform of the image (default: linux/amd64)")
    .option("--build-arg <NAME=value>", "Argument of the Dockerfile (repeatable)", collect)
    .option("--secret <secret>", "Secret for the build, as docker build takes it (repeatable)", collect)
    .option("--no-cache", "Build every step again")
    .option("--progress <style>", "How docker shows its progress: auto, plain, quiet");
}

async function run(mode: RunOptions["mode"], target: string | undefined, flags: RunFlags, cog: Command): Promise<void> {
  const url = address(target);
  if (url === undefined && flags.token !== undefined)
    throw new Failure("--token is for a server at an address; the model of this folder needs none");
  if (url !== undefined && (flags.env !== undefined || flags.file !== undefined))
    throw new Failure(`${flags.env ? "--env" : "--file"} is for the model of this folder; ${url} has its own`);
  const { runModel } = await import("./run/run.ts");
  await runModel({
    mode,
    url,
    token: flags.token ?? (process.env.COG_AUTH_TOKEN || undefined),
    input: flags.input ?? [],
    json: flags.json,
    output: flags.output,
    env: flags.env ?? [],
    stream: flags.stream ?? false,
    useReplicateToken: flags.useReplicateToken ?? false,
    setupTimeout: flags.setupTimeout ?? 300,
    config: flags.file,
    debug: cog.opts<{ debug?: boolean }>().debug ?? false,
  });
}

/** Other Cog clients take an image's name here. */
function address(target: string | undefined): string | undefined {
  if (target === undefined || /^https?:\/\//.test(target)) return target;
  if (target.includes("=")) throw new Failure(`Invalid image name '${target}'. Did you forget \`-i\`?`);
  throw new Failure(`${target}: this command runs the model of the current folder, or one at an address`, {
    hint: `An image: \`docker run -d -p 5000:5000 ${quoted(target)}\`, then \`cog predict http://localhost:5000\``,
  });
}

function collect(value: string, earlier: string[] = []): string[] {
  return [...earlier, value];
}

function seconds(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError("a whole number of seconds is expected");
  return Number(text);
}

import { basename, delimiter, dirname, extname, join, relative, sep } from "node:path";
import { quoted } from "./shell.ts";

/**
 * What to type to start this command again: `cog`, `npx cog`, `node scripts/cog.mjs`.
 * `script` is the path that was started, a link in a folder of programs as such; or another command that lies beside it,
 * where `started` is the name of the one that was.
 */
export function calledAs(
  script = process.argv[1]!,
  started = basename(script),
  env: NodeJS.ProcessEnv = process.env,
  cwd = process.cwd(),
): string {
  const name = basename(script);
  const byNpx = env.npm_lifecycle_event === "npx" && firstWord(env.npm_lifecycle_script ?? "") === started;
  // Scripts of package.json find this folder; a shell does not.
  if (byNpx || dirname(script).endsWith(join("node_modules", ".bin"))) return `npx ${name}`;
  const onPath = (env.PATH ?? "").split(delimiter).includes(dirname(script));
  if (onPath && !/\.[cm]?js$/.test(name)) return quoted(name);
  const below = relative(cwd, script);
  const path = below.startsWith("..") ? script : below.includes(sep) ? below : `.${sep}${below}`;
  return /\.[cm]?js$/.test(name) ? `node ${quoted(path)}` : quoted(path);
}

/** The package's commands, and the names that each is started by. */
const commands = { cog: /^(cog|llama-lora-cog)(\.mjs)?$/, "llama-lora": /^llama-lora(\.mjs)?$/ };

/** Messages write commands as `cog …` or `llama-lora …` in backticks; shows them as this command was called. */
export function asCalled(text: string, script = process.argv[1]!): string {
  return text.replace(/`(cog|llama-lora)(?=[ `])/g, (_, command: keyof typeof commands) => {
    const [name, ending] = [basename(script), extname(script)];
    return `\`${calledAs(commands[command].test(name) ? script : join(dirname(script), `${command}${ending}`), name)}`;
  });
}

function firstWord(line: string): string {
  return /^'([^']*)'|^"([^"]*)"|^(\S+)/.exec(line)?.slice(1).find(Boolean) ?? "";
}

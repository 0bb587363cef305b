import { basename, delimiter, dirname, join, relative, sep } from "node:path";
import { quoted } from "./shell.ts";

/**
 * What to type to start this command again: `cog`, `npx cog`, `node scripts/cog.mjs`.
 * `script` is the path that was started, a link in a folder of programs as such.
 */
export function calledAs(script = process.argv[1]!, env: NodeJS.ProcessEnv = process.env, cwd = process.cwd()): string {
  const name = basename(script);
  const byNpx = env.npm_lifecycle_event === "npx" && firstWord(env.npm_lifecycle_script ?? "") === name;
  // Scripts of package.json find this folder; a shell does not.
  if (byNpx || dirname(script).endsWith(join("node_modules", ".bin"))) return `npx ${name}`;
  const onPath = (env.PATH ?? "").split(delimiter).includes(dirname(script));
  if (onPath && !/\.[cm]?js$/.test(name)) return quoted(name);
  const below = relative(cwd, script);
  const path = below.startsWith("..") ? script : below.includes(sep) ? below : `.${sep}${below}`;
  return /\.[cm]?js$/.test(name) ? `node ${quoted(path)}` : quoted(path);
}

/** Messages write commands as `cog …` in backticks; shows them as this command was called. */
export function asCalled(text: string): string {
  return text.includes("`cog") ? text.replace(/`cog(?=[ `])/g, `\`${calledAs()}`) : text;
}

function firstWord(line: string): string {
  return /^'([^']*)'|^"([^"]*)"|^(\S+)/.exec(line)?.slice(1).find(Boolean) ?? "";
}

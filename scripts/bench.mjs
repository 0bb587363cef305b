// npm run bench [-- FILE.ts] [-- options]: runs a TypeScript program of bench/ (bench/engine.ts by default).
import { register } from "node:module";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { ensureInstalled, root } from "./installed.mjs";

ensureInstalled();
const named = process.argv[2]?.endsWith(".ts");
const program = named ? resolve(process.argv[2]) : join(root, "bench", "engine.ts");
if (named) process.argv.splice(2, 1);
register(pathToFileURL(join(root, "dist", "cog", "worker", "hooks.js")).href);
await import(pathToFileURL(program).href);

// npm run conformance [-- ID ...]: replays recorded answers of real Cog servers against ours. Exit code 1 on a difference
// that is not listed with a reason.
import { register } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { ensureInstalled, root } from "./installed.mjs";

ensureInstalled();
register(pathToFileURL(join(root, "dist", "cog", "worker", "hooks.js")).href);
await import(pathToFileURL(join(root, "test", "cog", "conformance", "command.ts")).href);

#!/usr/bin/env node
// The `cog` command; everything is in src/cog/cli.
import { start } from "./built-command.mjs";

await start("cog", "cog", "cli");

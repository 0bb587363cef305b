#!/usr/bin/env node
// The `llama-lora` command; everything is in src/llama/cli.
import { start } from "./built-command.mjs";

await start("llama-lora", "llama", "cli");

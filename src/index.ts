// The library: LLaMA with LoRA adapters, served and trained in this process. `llama-lora-cog/cog` is the container's part.
export type { Engine } from "./engine/engine.ts";
export { openEngine } from "./engine/open.ts";
export { CodedError, type ErrorCode, isCodedError } from "./errors/index.ts";
export * from "./llama/index.ts";
export * from "./training/index.ts";

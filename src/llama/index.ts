export { samplingLimits } from "../engine/arguments.ts";
export { type Adapter, type AdapterToWrite, openAdapter, writeAdapterArchive } from "./adapter/index.ts";
export type { Chunk, FinishReason, Generation } from "./generation/generation.ts";
export { Llama, type LlamaOptions } from "./generation/llama.ts";
export type { FileLike, GenerateOptions } from "./generation/options.ts";
export { renderPrompt, type TemplateName, templateNames } from "./prompt/index.ts";

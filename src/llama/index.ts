export { samplingLimits } from "../engine/arguments.ts";
export { type Adapter, type AdapterToWrite, openAdapter, writeAdapterArchive } from "./adapter/index.ts";
export { mostAdapters } from "./generation/adapter-sources.ts";
export type { Chunk, FinishReason, Generation } from "./generation/generation.ts";
export { Llama, type LlamaOptions } from "./generation/llama.ts";
export type { FileLike, GenerateOptions, TemplatedQuestion } from "./generation/options.ts";
export { stopLimits } from "./generation/stop-strings.ts";
export { type Message, renderPrompt, type TemplateName, templateNames } from "./prompt/index.ts";

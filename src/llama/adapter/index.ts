export { type OpenAdapterOptions, openAdapter } from "./open.ts";
export type { PeftConfig } from "./peft-config.ts";
export { type Adapter, readAdapter } from "./read.ts";
export { AdapterReader } from "./reader.ts";
export { mostAdapterBytes } from "./size.ts";
export { type AdapterToWrite, writeAdapterArchive, writeAdapterFolder } from "./write.ts";

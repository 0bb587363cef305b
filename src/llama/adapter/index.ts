export type { Adapter, FullAdapter } from "./adapter.ts";
export { type OpenAdapterOptions, openAdapter, withAdapter } from "./open.ts";
export type { PeftConfig } from "./peft-config.ts";
export { readAdapter } from "./read.ts";
export { AdapterReader, type AdapterSource } from "./reader.ts";
export { mostAdapterBytes } from "./size.ts";
export type { ServedAdapter } from "./weighted-sum.ts";
export { type AdapterNote, type AdapterToWrite, writeAdapterArchive, writeAdapterFolder } from "./write.ts";

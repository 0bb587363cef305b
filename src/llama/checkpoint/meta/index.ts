export { type ChecklistOptions, compareChecklist } from "./checklist.ts";
export type { ConfigJson } from "./config.ts";
export type { ConvertedTensor } from "./converted-tensor.ts";
export { type MetaModel, openMetaModel, tieHead } from "./open.ts";
export { holdsMetaWeights } from "./shards.ts";

export { describeCheckpoint } from "./describe.ts";
export { chooseCheckpoint } from "./locate.ts";
export { publishedName } from "./name.ts";
export { type Checkpoint, openCheckpoint } from "./open.ts";
export { readTensor } from "./read-tensor.ts";
export {
  checkpointErrors,
  type FileErrors,
  isWeightType,
  readSafetensorsHeader,
  type SafetensorsEntry,
  type SafetensorsHeader,
} from "./safetensors.ts";
export { type TensorToWrite, writeSafetensors } from "./safetensors-writer.ts";

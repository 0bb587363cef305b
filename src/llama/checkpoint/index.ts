export { describeCheckpoint } from "./describe.ts";
export { type Checkpoint, openCheckpoint } from "./huggingface.ts";
export { chooseCheckpoint } from "./locate.ts";
export { publishedName } from "./name.ts";
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

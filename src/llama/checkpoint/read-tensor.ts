import type { TensorSource } from "../../engine/engine.ts";
import { storedBytes } from "../../engine/tensors/stored-types.ts";
import { tensorValues } from "../../engine/tensors/values.ts";
import { CodedError } from "../../errors/index.ts";
import { openRegularFile, readBytes } from "../regular-file.ts";
import { checkpointErrors } from "./safetensors.ts";

/**
 * Reads one tensor as float32, in Hugging Face's order; 16-bit types are widened exactly, blocks dequantised. The copy is
 * in JavaScript: engines read what they load themselves.
 */
export async function readTensor(source: TensorSource, errors = checkpointErrors): Promise<Float32Array<ArrayBuffer>> {
  const bytes = storedBytes(source.dtype, source.shape);
  if (bytes === null) {
    throw new CodedError(errors.corrupt, `${source.file}: ${source.dtype} of shape [${source.shape}] is not possible`);
  }
  const handle = await openRegularFile(source.file, errors);
  try {
    return tensorValues(source, await readBytes(handle, source.file, source.offset, bytes, errors.corrupt));
  } finally {
    await handle.close();
  }
}

import type { KernelFunc, TensorInfo } from "@tensorflow/tfjs-core";
import type { TensorFlow } from "./backend.ts";

/** The part of the WebAssembly backend that a kernel written in JavaScript needs. */
interface WasmMemory {
  makeOutput(shape: number[], dtype: TensorInfo["dtype"]): TensorInfo;
  typedArrayFromHeap(tensor: TensorInfo): Float32Array | Int32Array;
}

/**
 * Gives the WebAssembly backend UnsortedSegmentSum, which it lacks: the gradient of every gather is made of it.
 * x [n, ...], segmentIds [n] -> [numSegments, ...], row s the sum of the rows with id s. Ids outside are left out, as
 * TensorFlow does for negative ones.
 */
export function registerSegmentSum(tf: TensorFlow): void {
  if (tf.getKernel("UnsortedSegmentSum", "wasm")) return;
  const kernelFunc: KernelFunc = ({ inputs, attrs, backend }) => {
    const { x, segmentIds } = inputs as { x: TensorInfo; segmentIds: TensorInfo };
    const { numSegments } = attrs as unknown as { numSegments: number };
    const memory = backend as WasmMemory;
    const output = memory.makeOutput([numSegments, ...x.shape.slice(1)], x.dtype);
    // Views of the heap come after the allocation: it may have moved the heap.
    const ids = memory.typedArrayFromHeap(segmentIds);
    const values = memory.typedArrayFromHeap(x);
    const sums = memory.typedArrayFromHeap(output).fill(0);
    const width = x.shape.slice(1).reduce((a, b) => a * b, 1);
    for (let row = 0; row < ids.length; row++) {
      const segment = ids[row]!;
      if (segment < 0 || segment >= numSegments) continue;
      for (let i = 0; i < width; i++) sums[segment * width + i]! += values[row * width + i]!;
    }
    return output;
  };
  tf.registerKernel({ kernelName: "UnsortedSegmentSum", backendName: "wasm", kernelFunc });
}

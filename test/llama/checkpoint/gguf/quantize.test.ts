import { describe, expect, it } from "vitest";
import { dequantizeBlocks } from "../../../../src/engine/tensors/blocks.ts";
import { quantizeBlocks, writableBlocks } from "../../../../src/llama/checkpoint/gguf/quantize.ts";

/** sin(i² + 1/2) · 0.75 */
const values = Float32Array.from({ length: 64 }, (_, i) => Math.fround(Math.sin(i * i + 0.5)) * 0.75);

/** gguf-py 0.19.0, quants.quantize of these numbers. */
const golden = {
  Q8_0: "0c1e3d7f84f6a62e8aa87ee9fc6cfeee7eaf8e3a9be5817e517e81d8914d9dc97316051e2b4b31236ae2b56982a990647a5e9997827ce621336572ed7671134a1e7ba481",
  Q4_0: "002e1ccf206702fbd1f20f5718df2857ff93f92d0bfd6baabfe6f37ff0f391deaffe2201",
  Q4_1: "642e00ba1bbf206702fac1f20f5617ce2746ef934a2ef9b90afc6baabee6e36ef0e291ce9ffd2101",
  Q5_0: "002a235de2c8287f30df05f6a1f50fbd20ae309eff36f9299f387a3f05fad6446ddce6edf0e5229d4ffc4303",
  Q5_1: "2f2a00ba2349e2c8277f30ce04f591f50fbd2f9d3f9def26162af9b99f387a3f05f9c6446dcce6dde0e5229c3ffb4303",
};

describe("blocks", () => {
  it.each(writableBlocks)("of %s are gguf-py's bytes", (type) => {
    expect(Buffer.from(quantizeBlocks(type, values)).toString("hex")).toBe(golden[type]);
  });

  it.each(writableBlocks)("of %s become numbers within a step of those they were", (type) => {
    const back = dequantizeBlocks(type, quantizeBlocks(type, values));
    // The widest of these has 16 steps for 1.5.
    const step = type === "Q8_0" ? 0.01 : type.startsWith("Q5") ? 0.06 : 0.12;
    expect(back.every((value, i) => Math.abs(value - values[i]!) < step)).toBe(true);
  });

  it.each(writableBlocks)("of %s hold zeros", (type) => {
    const back = dequantizeBlocks(type, quantizeBlocks(type, new Float32Array(32)));
    expect(back.every((value) => value === 0)).toBe(true);
  });
});

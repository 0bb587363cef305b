import { afterAll, beforeAll, expect, it } from "vitest";
import { openBackend, type TensorFlow } from "../../src/engine/tensorflow/backend.ts";

let tf: TensorFlow;
let tensorsBefore: number;
beforeAll(async () => {
  ({ tf } = await openBackend({ LLAMA_TF_BACKEND: "wasm" }));
  tensorsBefore = tf.memory().numTensors;
});
afterAll(() => expect(tf.memory().numTensors).toBe(tensorsBefore));

it("sums rows of the same id on WebAssembly, leaves missing ids at zero and ids outside out", async () => {
  const sums = tf.tidy(() => {
    const x = tf.tensor2d([1, 2, 10, 20, 100, 200, 1000, 2000], [4, 2]);
    return tf.unsortedSegmentSum(x, tf.tensor1d([2, 0, 2, -1], "int32"), 4);
  });
  expect(sums.shape).toEqual([4, 2]);
  expect([...(await sums.data())]).toEqual([10, 20, 0, 0, 101, 202, 0, 0]);
  sums.dispose();
});

it("differentiates a gather that takes a row twice on WebAssembly", async () => {
  const gradient = tf.tidy(() => {
    const x = tf.tensor2d([1, 2, 3, 4, 5, 6], [3, 2]);
    const weights = tf.tensor2d([1, 2, 3, 4, 5, 6], [3, 2]);
    return tf.grad((rows) => tf.sum(tf.mul(tf.gather(rows, tf.tensor1d([2, 0, 2], "int32")), weights)))(x);
  });
  expect([...(await gradient.data())]).toEqual([3, 4, 0, 0, 6, 8]);
  gradient.dispose();
});

import type { Tensor, Tensor1D, Tensor2D } from "@tensorflow/tfjs-core";
import { hasBias, type LlamaConfig, linearPath } from "../config.ts";
import type { Dropout } from "../engine.ts";
import type { TensorflowAdapter } from "./adapter.ts";
import type { TensorFlow } from "./backend.ts";
import { dropoutMask } from "./dropout.ts";
import type { Parameters } from "./forward.ts";

/** A model's tensors, by the names of a checkpoint, as a pass reads them: with the adapter, and dropout on its inputs. */
export function parametersOf(
  tf: TensorFlow,
  config: LlamaConfig,
  tensors: ReadonlyMap<string, Tensor>,
  adapter: TensorflowAdapter | null,
  dropout: Dropout | null = null,
): Parameters {
  const tensor = (key: string): Tensor => tensors.get(key)!;
  return {
    embedding: () => tensor("model.embed_tokens.weight") as Tensor2D,
    norm: (layer, name) =>
      tensor(layer < 0 ? `model.${name}.weight` : `model.layers.${layer}.${name}.weight`) as Tensor1D,
    linear: (layer, name, x) => {
      const product = tf.matMul(x, tensor(`${linearPath(layer, name)}.weight`) as Tensor2D, false, true);
      const y = hasBias(config, name) ? tf.add(product, tensor(`${linearPath(layer, name)}.bias`)) : product;
      const input = (): Tensor2D => {
        if (!dropout || dropout.probability === 0) return x;
        return tf.mul(x, tf.tensor2d(dropoutMask(dropout, layer, name, ...x.shape), x.shape));
      };
      return (adapter?.has(layer, name) ? tf.add(y, adapter.delta(layer, name, input())) : y) as Tensor2D;
    },
  };
}

#include "model.h"

#include <cmath>
#include <utility>

#include "engine_error.h"

namespace llama {

template <class T>
Model<T>::Model(std::unique_ptr<BasicOps<T>> operations, const ModelOptions& options, const LoadProgress& progress)
    : config(options.config),
      ops(std::move(operations)),
      rope(config.inverse_frequencies, config.attention_scaling),
      checkpointed_layers(options.checkpointed_layers),
      stop_(options.stop) {
  config.validate();
  weights = load_weights<T>(*ops, config, options.tensors, progress.report, progress.cancelled);
  cache_budget = std::make_unique<CacheBudget>(
      ops->limit_caches(config.layers, config.kv_heads, config.head_dim, cache_type(), options.cache_bytes));
}

template <class T>
AttentionShape Model<T>::attention_shape() const {
  return {config.heads, config.kv_heads, config.head_dim, config.window,
          1 / std::sqrt(static_cast<float>(config.head_dim))};
}

template <class T>
Rotary Model<T>::rotary(int layer, const int32_t* positions, const float* cos_sin) const {
  const LayerWeights& layer_weights = weights.layers[static_cast<size_t>(layer)];
  return {positions, cos_sin, layer_weights.qkv_bias.data(), layer_weights.q_norm.data(), layer_weights.k_norm.data(),
          config.rms_norm_eps};
}

template <class T>
void Model<T>::check_stop() const {
  if (stop_ && *stop_) throw EngineError("ENGINE_UNAVAILABLE", "the engine is shutting down");
}

#define LLAMA_INSTANTIATE(T) template class Model<T>;
LLAMA_FOR_EACH_ACTIVATION(LLAMA_INSTANTIATE)
#undef LLAMA_INSTANTIATE

}  // namespace llama

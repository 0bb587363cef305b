#include "model.h"

#include <cmath>
#include <utility>

#include "engine_error.h"

namespace llama {

Model::Model(ModelOptions options, const std::function<void(double)>& progress, const std::function<bool()>& cancelled)
    : config(std::move(options.config)),
      rope(config.inverse_frequencies, config.attention_scaling),
      stop_(std::move(options.stop)) {
  config.validate();
  ops = make_ops(options.isa, options.threads);
  weights = load_weights(*ops, config, options.tensors, progress, cancelled);
}

AttentionShape Model::attention_shape() const {
  return {config.heads, config.kv_heads, config.head_dim, config.window,
          1 / std::sqrt(static_cast<float>(config.head_dim))};
}

void Model::check_tokens(const int32_t* tokens, int64_t count) const {
  for (int64_t i = 0; i < count; ++i) {
    if (tokens[i] < 0 || tokens[i] >= config.vocab) {
      throw EngineError("ENGINE_ARGUMENT", "token " + std::to_string(i) + " is " + std::to_string(tokens[i]) +
                                               ", the vocabulary has " + std::to_string(config.vocab));
    }
  }
}

void Model::check_stop() const {
  if (stop_ && *stop_) throw EngineError("ENGINE_UNAVAILABLE", "the engine is shutting down");
}

}  // namespace llama

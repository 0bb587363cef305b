// A loaded LLaMA. Used by one thread at a time.
#pragma once
#include <atomic>
#include <memory>

#include "activation.h"
#include "cache_budget.h"
#include "engine.h"
#include "llama_config.h"
#include "ops.h"
#include "rope_table.h"
#include "weights.h"

namespace llama {

template <class T>
class Model {
 public:
  // Throws EngineError.
  Model(std::unique_ptr<BasicOps<T>> operations, const ModelOptions& options, const LoadProgress& progress);

  LlamaConfig config;
  std::unique_ptr<BasicOps<T>> ops;
  Weights weights;
  RopeTable rope;
  int checkpointed_layers;  // as in ModelOptions
  std::unique_ptr<CacheBudget> cache_budget;

  AttentionShape attention_shape() const;
  // A layer's, for tokens at these positions.
  Rotary rotary(int layer, const int32_t* positions, const float* cos_sin) const;
  // Keys and values are kept in the weights' type: a bf16 model may make some past the range of f16.
  StorageType cache_type() const { return weights.type; }

  // Throws EngineError once ModelOptions::stop is set.
  void check_stop() const;

 private:
  std::shared_ptr<const std::atomic<bool>> stop_;
};

}  // namespace llama

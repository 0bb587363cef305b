// A loaded LLaMA. Used by one thread at a time.
#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "llama_config.h"
#include "ops.h"
#include "rope_table.h"
#include "weights.h"

namespace llama {

struct ModelOptions {
  LlamaConfig config;
  TensorSources tensors;
  std::string isa = "auto";
  int threads = 1;
  std::shared_ptr<const std::atomic<bool>> stop;  // or null; set by another thread to end a pass before its next layer
};

class Model {
 public:
  // Throws EngineError; std::invalid_argument for an instruction set this processor lacks.
  Model(ModelOptions options, const std::function<void(double)>& progress, const std::function<bool()>& cancelled);

  LlamaConfig config;
  std::unique_ptr<Ops> ops;
  Weights weights;
  RopeTable rope;

  AttentionShape attention_shape() const;
  // Keys and values are kept in 16 bits where the weights are.
  StorageType cache_type() const { return weights.type == StorageType::f32 ? StorageType::f32 : StorageType::f16; }

  // Throws EngineError ENGINE_ARGUMENT naming the first token that is outside the vocabulary.
  void check_tokens(const int32_t* tokens, int64_t count) const;

  // Throws EngineError once ModelOptions::stop is set.
  void check_stop() const;

 private:
  std::shared_ptr<const std::atomic<bool>> stop_;
};

}  // namespace llama

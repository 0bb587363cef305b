// Training of one adapter: gradients over micro-batches, then an AdamW step. The base stays as it is.
#pragma once
#include <cstdint>
#include <memory>

#include "activations.h"
#include "loss_scale.h"
#include "packed_forward.h"

namespace llama {

template <class T>
class Trainer final : public EngineTrainer {
 public:
  // The adapter is trained in place. Throws EngineError ENGINE_ARGUMENT when it has no modules.
  Trainer(std::shared_ptr<Model<T>> model, std::shared_ptr<Adapter<T>> adapter);

  LossSum accumulate(const PackedBatch& batch, float gradient_scale, const Dropout& dropout) override;
  LossSum evaluate(const PackedBatch& batch) override;
  double update(const OptimizerStep& step) override;
  std::vector<ModuleTensors> gradients() const override;
  OptimizerState optimizer_state() const override;
  void restore_optimizer(const OptimizerState& state) override;
  MemoryPlan plan(int64_t tokens, bool dropout) const override;
  void release_activations() override {
    activations_ = {};
    evaluation_ = {};
    head_ = {};
  }
  size_t state_bytes() const override {
    return gradients_.bytes() + first_moment_.bytes() + second_moment_.bytes();
  }

 private:
  // A and B of each module, divided by the scale.
  std::vector<ModuleTensors> read(const Buffer<float>& values, float scale = 1) const;
  // Beside the activations.
  int64_t workspace_bytes(int64_t tokens) const;
  // For activations.
  int64_t room(int64_t tokens) const;
  int layers_to_checkpoint(int64_t tokens, bool dropout) const;
  void forward(int layer, const LayerRows<T>& rows, const PackedRows& packed, const Dropout& dropout);

  std::shared_ptr<Model<T>> model_;
  std::shared_ptr<Adapter<T>> adapter_;
  Buffer<float> gradients_, first_moment_, second_moment_;
  int64_t steps_ = 0;
  LossScale loss_scale_;
  Activations<T> activations_;
  Buffer<int32_t> tokens_, positions_, offsets_;
  const float* cos_sin_ = nullptr;
  PackedBuffers<T> evaluation_;
  HeadBuffers<T> head_;
};

}  // namespace llama

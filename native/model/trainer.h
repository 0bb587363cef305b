// Training of one adapter: gradients over micro-batches, then an AdamW step. The base stays as it is.
#pragma once
#include <cstdint>
#include <memory>

#include "activations.h"
#include "communicator.h"
#include "packed_forward.h"

namespace llama {

struct LossSum {
  double loss = 0;  // nats, over all positions with a target
  int64_t targets = 0;
};

// AdamW with decoupled weight decay (Loshchilov and Hutter 2019).
struct OptimizerStep {
  float learning_rate, beta1, beta2, epsilon, weight_decay;
  double max_grad_norm;  // 0: no clipping
};

class Trainer {
 public:
  // The adapter is trained in place. Throws EngineError ENGINE_ARGUMENT when it has no modules.
  Trainer(std::shared_ptr<Model> model, std::shared_ptr<Adapter> adapter);

  const std::shared_ptr<Model>& model() const { return model_; }
  const std::shared_ptr<Adapter>& adapter() const { return adapter_; }

  // Forward and backward: adds gradient_scale * d(sum of losses) / d(adapter). After an error they are undefined.
  LossSum accumulate(const PackedBatch& batch, float gradient_scale, const Dropout& dropout);
  // Forward only.
  LossSum evaluate(const PackedBatch& batch);
  // The other ranks that train a copy of the adapter; update() then sums the gradients over all of them.
  void set_communicator(std::shared_ptr<Communicator> communicator) { communicator_ = std::move(communicator); }
  Communicator* communicator() const { return communicator_.get(); }  // null: one rank
  // Applies the accumulated gradients and clears them; returns their norm before clipping. Gradients whose norm is not
  // finite are cleared without being applied.
  double update(const OptimizerStep& step);

  const float* gradients() const { return gradients_.data(); }
  size_t state_bytes() const { return gradients_.bytes() + first_moment_.bytes() + second_moment_.bytes(); }

 private:
  std::shared_ptr<Model> model_;
  std::shared_ptr<Adapter> adapter_;
  std::shared_ptr<Communicator> communicator_;
  FloatBuffer gradients_, first_moment_, second_moment_;
  int64_t steps_ = 0;
  Activations activations_;
  PackedBuffers evaluation_;
  HeadBuffers head_;
};

}  // namespace llama

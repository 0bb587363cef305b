#include "trainer.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "available_memory.h"
#include "engine_error.h"
#include "layer_backward.h"

namespace llama {

Trainer::Trainer(std::shared_ptr<Model> model, std::shared_ptr<Adapter> adapter)
    : model_(std::move(model)), adapter_(std::move(adapter)) {
  if (adapter_->modules().empty()) throw EngineError("ENGINE_ARGUMENT", "an adapter without modules cannot be trained");
  const int64_t count = adapter_->parameter_count();
  require_memory(3 * count * int64_t{sizeof(float)}, "gradients and optimiser state");
  for (FloatBuffer* buffer : {&gradients_, &first_moment_, &second_moment_}) {
    std::fill_n(buffer->reserve(count, 1), count, 0.0f);
  }
}

LossSum Trainer::accumulate(const PackedBatch& batch, float gradient_scale, const Dropout& dropout) {
  batch.check(*model_);
  const int64_t targets = batch.target_count();
  if (targets == 0) return {};
  Model& model = *model_;
  const LlamaConfig& config = model.config;
  const int64_t tokens = batch.token_count(), qkv_width = config.qkv_width();
  activations_.prepare(config, *adapter_, tokens, dropout.probability != 0);

  const std::vector<int32_t> positions = batch.positions();
  const float* cos_sin = model.rope.up_to(batch.longest_row());
  const std::vector<AdapterRows> adapters{{adapter_.get(), 0, tokens}};
  model.ops->embed(model.weights.embedding, batch.tokens.data(), tokens, activations_.layer(0).input, config.hidden);
  for (int layer = 0; layer < config.layers; ++layer) {
    layer_forward(model, layer, activations_.layer(layer), tokens, positions.data(), cos_sin, adapters, dropout,
                  [&](const float* qkv, float* attention) {
                    model.ops->attention_packed(model.attention_shape(), batch.offsets.data(), batch.row_count(), qkv,
                                                qkv_width, qkv + config.q_width(),
                                                qkv + config.q_width() + config.kv_width(), qkv_width, attention,
                                                config.q_width(), activations_.lse(layer));
                  });
  }
  const double loss = head_loss(model, activations_.final_hidden(), batch.targets.data(), tokens, gradient_scale,
                                activations_.backward().dh, head_);
  const BackwardPass pass{model,   *adapter_, activations_,         dropout, tokens, batch.offsets.data(),
                          batch.row_count(), positions.data(), cos_sin, gradients_.data()};
  for (int layer = config.layers - 1; layer >= activations_.lowest().layer; --layer) layer_backward(pass, layer);
  return {loss, targets};
}

LossSum Trainer::evaluate(const PackedBatch& batch) {
  batch.check(*model_);
  const int64_t targets = batch.target_count();
  if (targets == 0) return {};
  const float* h = packed_forward(*model_, batch, adapter_.get(), evaluation_);
  return {head_loss(*model_, h, batch.targets.data(), batch.token_count(), 0, nullptr, head_), targets};
}

double Trainer::update(const OptimizerStep& step) {
  const int64_t count = adapter_->parameter_count();
  if (communicator_) communicator_->all_reduce_sum(gradients_.data(), count);
  const double norm = std::sqrt(model_->ops->sum_squares(gradients_.data(), count));
  if (std::isfinite(norm)) {
    const double factor = step.max_grad_norm > 0 ? std::min(1.0, step.max_grad_norm / (norm + 1e-6)) : 1.0;
    ++steps_;
    model_->ops->adamw(adapter_->parameters(), gradients_.data(), first_moment_.data(), second_moment_.data(), count,
                       {step.learning_rate, step.beta1, step.beta2, step.epsilon, step.weight_decay,
                        static_cast<float>(factor), steps_});
  }
  std::fill_n(gradients_.data(), count, 0.0f);
  return norm;
}

}  // namespace llama

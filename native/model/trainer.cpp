#include "trainer.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <type_traits>
#include <utility>

#include "engine_error.h"
#include "layer_backward.h"

namespace llama {

template <class T>
Trainer<T>::Trainer(std::shared_ptr<Model<T>> model, std::shared_ptr<Adapter<T>> adapter)
    : model_(std::move(model)), adapter_(std::move(adapter)), loss_scale_(std::is_same_v<T, Half>) {
  const AdapterLayout& layout = adapter_->layout();
  if (layout.modules().empty()) throw EngineError("ENGINE_ARGUMENT", "an adapter without modules cannot be trained");
  const int64_t count = layout.parameter_count();
  model_->ops->require(3 * count * static_cast<int64_t>(sizeof(float)), "gradients and optimiser state",
                       "set lora_r lower or adapt fewer modules");
  for (Buffer<float>* buffer : {&gradients_, &first_moment_, &second_moment_}) {
    model_->ops->clear(buffer->reserve(*model_->ops, count), static_cast<size_t>(count) * sizeof(float));
  }
}

template <class T>
int64_t Trainer<T>::workspace_bytes(int64_t tokens) const {
  const int64_t ranks = (adapter_->layout().largest_rank() + 7) / 8 * 8;
  const int64_t evaluation = tokens * (PackedBuffers<T>::bytes_per_token(model_->config) + ranks * static_cast<int64_t>(sizeof(float)));
  return head_loss_bytes<T>(*model_->ops, model_->config) + model_->ops->workspace_bytes(tokens) +
         std::max<int64_t>(0, evaluation - evaluation_.bytes());
}

template <class T>
int64_t Trainer<T>::room(int64_t tokens) const {
  return model_->ops->available() + static_cast<int64_t>(activations_.bytes()) - workspace_bytes(tokens);
}

// As few as memory allows: what is not kept is computed a second time.
template <class T>
int Trainer<T>::layers_to_checkpoint(int64_t tokens, bool dropout) const {
  const Model<T>& model = *model_;
  if (model.checkpointed_layers >= 0) return model.checkpointed_layers;
  const int64_t most = room(tokens);
  int layers = 0;
  while (layers < model.config.layers &&
         Activations<T>::bytes_for(model.config, adapter_->layout(), {tokens, dropout, layers}) > most) {
    ++layers;
  }
  return layers;
}

template <class T>
MemoryPlan Trainer<T>::plan(int64_t tokens, bool dropout) const {
  MemoryPlan plan;
  plan.weights = static_cast<int64_t>(model_->weights.bytes);
  plan.adapter = static_cast<int64_t>(adapter_->bytes());
  plan.optimizer = static_cast<int64_t>(state_bytes());
  plan.layers = model_->config.layers;
  plan.checkpointed_layers = layers_to_checkpoint(tokens, dropout);
  plan.activations = Activations<T>::bytes_for(model_->config, adapter_->layout(),
                                               {tokens, dropout, plan.checkpointed_layers});
  plan.workspace = workspace_bytes(tokens);
  plan.available = model_->ops->available();
  require_memory(plan.activations, room(tokens), "training on a micro-batch of " + std::to_string(tokens) + " tokens",
                 "set micro_batch_size or cutoff_len lower");
  return plan;
}

template <class T>
void Trainer<T>::forward(int layer, const LayerRows<T>& rows, const PackedRows& packed, const Dropout& dropout) {
  Model<T>& model = *model_;
  const LlamaConfig& config = model.config;
  const int64_t q_width = config.q_width(), qkv_width = config.qkv_width();
  Adaptation<T> adaptation;
  adaptation.trained = adapter_.get();
  adaptation.dropout = dropout;
  layer_forward<T>(model, layer, rows, packed.tokens, adaptation, [&](T* qkv, T* attention) {
    T* rotated = rows.rotated ? rows.rotated : qkv;
    model.ops->rope(model.attention_shape(), model.rotary(layer, positions_.data(), cos_sin_), qkv, qkv_width,
                    packed.tokens, rotated, qkv_width);
    model.ops->attention_packed(model.attention_shape(), packed, rotated, qkv_width, rotated + q_width,
                                rotated + q_width + config.kv_width(), qkv_width, attention, q_width,
                                activations_.lse(layer));
  });
}

template <class T>
LossSum Trainer<T>::accumulate(const PackedBatch& batch, float gradient_scale, const Dropout& dropout) {
  batch.check(model_->config, true);
  const int64_t targets = batch.target_count();
  if (targets == 0) return {};
  Model<T>& model = *model_;
  BasicOps<T>& ops = *model.ops;
  const LlamaConfig& config = model.config;
  const bool drops = dropout.probability != 0;
  activations_.prepare(ops, config, adapter_->layout(),
                       {batch.token_count(), drops, layers_to_checkpoint(batch.token_count(), drops)});

  positions_.hold(ops, batch.positions());
  cos_sin_ = model.rope.up_to(ops, batch.longest_row());
  const PackedRows packed{offsets_.hold(ops, batch.offsets), batch.row_count(), batch.token_count()};
  ops.embed(*model.weights.embedding, tokens_.hold(ops, batch.tokens), packed.tokens, activations_.layer(0).input,
            config.hidden);
  for (int layer = 0; layer < config.layers; ++layer) forward(layer, activations_.layer(layer), packed, dropout);
  const double loss = head_loss(model, activations_.final_hidden(), batch.targets,
                                gradient_scale * loss_scale_.value(), activations_.backward().dh, head_);
  const BackwardPass<T> pass{model,   *adapter_,          activations_, dropout,
                             packed,  positions_.data(), cos_sin_,     gradients_.data()};
  for (int layer = config.layers - 1; layer >= activations_.lowest().layer; --layer) {
    if (activations_.is_checkpointed(layer)) {
      LayerRows<T> again = activations_.layer(layer);
      again.output = nullptr;
      forward(layer, again, packed, dropout);
    }
    layer_backward(pass, layer);
  }
  return {loss, targets};
}

template <class T>
LossSum Trainer<T>::evaluate(const PackedBatch& batch) {
  batch.check(model_->config, true);
  const int64_t targets = batch.target_count();
  if (targets == 0) return {};
  const float* h = packed_forward(*model_, batch, adapter_.get(), evaluation_);
  return {head_loss<T>(*model_, h, batch.targets, 0, nullptr, head_), targets};
}

template <class T>
double Trainer<T>::update(const OptimizerStep& step) {
  BasicOps<T>& ops = *model_->ops;
  const int64_t count = adapter_->layout().parameter_count();
  const double scale = loss_scale_.value();
  if (communicator() != nullptr) ops.sum_over_ranks(*communicator(), gradients_.data(), count);
  double norm = std::sqrt(ops.sum_squares(gradients_.data(), count)) / scale;
  if (std::isfinite(norm)) {
    const double factor = step.max_grad_norm > 0 ? std::min(1.0, step.max_grad_norm / (norm + 1e-6)) : 1.0;
    ++steps_;
    ops.adamw(adapter_->parameters(), gradients_.data(), first_moment_.data(), second_moment_.data(), count,
              {step.learning_rate, step.beta1, step.beta2, step.epsilon, step.weight_decay,
               static_cast<float>(factor / scale), steps_});
    adapter_->round();
  }
  // A step that only the scale made overflow is skipped, as mixed-precision training does, not reported.
  if (loss_scale_.settle(std::isfinite(norm))) norm = 0;
  ops.clear(gradients_.data(), static_cast<size_t>(count) * sizeof(float));
  return norm;
}

template <class T>
std::vector<ModuleTensors> Trainer<T>::read(const Buffer<float>& buffer, float scale) const {
  std::vector<float> values(static_cast<size_t>(adapter_->layout().parameter_count()));
  model_->ops->download(values.data(), buffer.data(), values.size() * sizeof(float));
  if (scale != 1) {
    for (float& value : values) value /= scale;
  }
  return adapter_->layout().split(values);
}

template <class T>
OptimizerState Trainer<T>::optimizer_state() const {
  return {steps_, read(first_moment_), read(second_moment_), loss_scale_.state()};
}

template <class T>
void Trainer<T>::restore_optimizer(const OptimizerState& state) {
  if (state.steps < 0) throw EngineError("ENGINE_ARGUMENT", "the optimiser's steps are below zero");
  if (!loss_scale_.accepts(state.loss_scale)) {
    throw EngineError("ENGINE_ARGUMENT", "the optimiser's loss scale " + std::to_string(state.loss_scale.value) +
                                             " is none of these activations");
  }
  const std::vector<float> first = adapter_->layout().join(state.first, "the first moment");
  const std::vector<float> second = adapter_->layout().join(state.second, "the second moment");
  if (std::any_of(second.begin(), second.end(), [](float value) { return value < 0; })) {
    throw EngineError("ENGINE_ARGUMENT", "the second moment holds a value below zero");
  }
  first_moment_.hold(*model_->ops, first);
  second_moment_.hold(*model_->ops, second);
  steps_ = state.steps;
  loss_scale_.restore(state.loss_scale);
}

template <class T>
std::vector<ModuleTensors> Trainer<T>::gradients() const {
  return read(gradients_, loss_scale_.value());
}

#define LLAMA_INSTANTIATE(T) template class Trainer<T>;
LLAMA_FOR_EACH_ACTIVATION(LLAMA_INSTANTIATE)
#undef LLAMA_INSTANTIATE

}  // namespace llama

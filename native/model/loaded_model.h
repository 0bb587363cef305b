// EngineModel for one kind of activations.
#pragma once
#include <memory>
#include <utility>

#include "adapter.h"
#include "engine_error.h"
#include "packed_forward.h"
#include "serving.h"
#include "trainer.h"

namespace llama {

template <class T>
class LoadedModel final : public EngineModel {
 public:
  explicit LoadedModel(std::shared_ptr<Model<T>> model) : model_(std::move(model)), server_(*model_) {}

  const char* kernels() const override { return model_->ops->name(); }
  size_t weight_bytes() const override { return model_->weights.bytes; }
  int64_t cache_tokens() const override { return model_->cache_budget->tokens(); }
  int64_t cache_page_tokens() const override { return model_->cache_budget->page_tokens(); }

  bool makes_adapters_beside_steps() const override { return model_->ops->allocates_beside_operations(); }
  std::shared_ptr<EngineAdapter> make_adapter(const std::vector<AdapterTensors>& tensors) override {
    return std::make_shared<Adapter<T>>(model_, tensors);
  }
  std::shared_ptr<EngineSequence> make_sequence(int64_t capacity, std::shared_ptr<EngineAdapter> adapter) override {
    return std::make_shared<Sequence<T>>(model_, capacity, own(std::move(adapter)));
  }
  std::vector<StepResult> step(const std::vector<StepRequest>& requests) override { return server_.step(requests); }
  void run_ahead() override { server_.run_ahead(); }
  std::vector<float> logits(const PackedBatch& batch, const std::shared_ptr<EngineAdapter>& adapter) override {
    return packed_logits<T>(*model_, batch, own(adapter).get());
  }
  std::shared_ptr<EngineTrainer> make_trainer(std::shared_ptr<EngineAdapter> adapter) override {
    return std::make_shared<Trainer<T>>(model_, own(std::move(adapter)));
  }

 private:
  std::shared_ptr<Adapter<T>> own(std::shared_ptr<EngineAdapter> adapter) const {
    if (!adapter) return nullptr;
    auto mine = std::dynamic_pointer_cast<Adapter<T>>(std::move(adapter));
    if (!mine || &mine->model() != model_.get()) {
      throw EngineError("ENGINE_ARGUMENT", "the adapter belongs to another model");
    }
    return mine;
  }

  std::shared_ptr<Model<T>> model_;
  Server<T> server_;
};

}  // namespace llama

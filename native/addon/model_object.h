#pragma once
#include <napi.h>

#include "model_handle.h"

namespace llama::addon {

// JavaScript: weightBytes, cacheTokens, cachePageTokens, kernels, createAdapter(modules), createSequence(capacity, adapter | null),
// step(sequences, positions, tokens, samplings, endings), logits(tokens, adapter | null), createTrainer(adapter, group | null),
// close().
class ModelObject : public Napi::ObjectWrap<ModelObject> {
 public:
  struct Parts {
    std::shared_ptr<ModelHandle> handle;
  };
  static constexpr napi_type_tag type_tag{0x6c6c616d61000004, 0x6d6f64656c};
  static Napi::Function define(Napi::Env env);
  explicit ModelObject(const Napi::CallbackInfo& info);
  ~ModelObject() override;

 private:
  Napi::Value create_adapter(const Napi::CallbackInfo& info);
  Napi::Value create_sequence(const Napi::CallbackInfo& info);
  Napi::Value step(const Napi::CallbackInfo& info);
  Napi::Value logits(const Napi::CallbackInfo& info);
  Napi::Value create_trainer(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);
  // An adapter of this model, or null.
  std::shared_ptr<EngineAdapter> adapter_of(const Napi::Value& value) const;

  std::shared_ptr<ModelHandle> handle_;
  int64_t weight_bytes_ = 0;
};

// load(options, onProgress | undefined): Promise<Model>.
// options: {config, tensors, threads, isa, checkpointedLayers, cacheBytes, gpuModule, gpu, cancelled: Int32Array}, where cancelled[0] != 0
// stops the loading. gpuModule is the GPU module's file, or empty for the CPU.
Napi::Value load_model(const Napi::CallbackInfo& info);

}  // namespace llama::addon

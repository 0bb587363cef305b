#pragma once
#include <napi.h>

#include "engine.h"
#include "model_handle.h"

namespace llama::addon {

// JavaScript: accumulate(tokens, targets, offsets, gradientScale, dropout | null), evaluate(tokens, targets, offsets),
// update(step), gradients(), optimizerState(), restoreOptimizer(state), plan(tokens, dropout), releaseActivations(), sum(values),
// finish(), close().
class TrainerObject : public Napi::ObjectWrap<TrainerObject>, public ModelChild {
 public:
  struct Parts {
    std::shared_ptr<ModelHandle> handle;
    std::shared_ptr<EngineTrainer> trainer;
  };
  static constexpr napi_type_tag type_tag{0x6c6c616d61000003, 0x747261696e6572};
  static Napi::Function define(Napi::Env env);
  explicit TrainerObject(const Napi::CallbackInfo& info);
  ~TrainerObject() override { value_.release(Env()); }

  void release(Napi::Env env) override { value_.release(env); }

 private:
  Napi::Value accumulate(const Napi::CallbackInfo& info);
  Napi::Value evaluate(const Napi::CallbackInfo& info);
  Napi::Value update(const Napi::CallbackInfo& info);
  Napi::Value gradients(const Napi::CallbackInfo& info);
  Napi::Value optimizer_state(const Napi::CallbackInfo& info);
  Napi::Value restore_optimizer(const Napi::CallbackInfo& info);
  Napi::Value plan(const Napi::CallbackInfo& info);
  Napi::Value release_activations(const Napi::CallbackInfo& info);
  Napi::Value sum(const Napi::CallbackInfo& info);
  Napi::Value finish(const Napi::CallbackInfo& info);
  void close(const Napi::CallbackInfo& info) { value_.release(info.Env()); }
  const std::shared_ptr<EngineTrainer>& trainer(Napi::Env env) const;

  OwnedValue<EngineTrainer> value_;
};

}  // namespace llama::addon

#pragma once
#include <napi.h>

#include "engine.h"
#include "model_handle.h"

namespace llama::addon {

// JavaScript: close(). Its length lives in JavaScript: a step is told how many tokens are there already.
class SequenceObject : public Napi::ObjectWrap<SequenceObject>, public ModelChild {
 public:
  struct Parts {
    std::shared_ptr<ModelHandle> handle;
    std::shared_ptr<EngineSequence> sequence;
  };
  static constexpr napi_type_tag type_tag{0x6c6c616d61000002, 0x73657175656e6365};
  static Napi::Function define(Napi::Env env);
  explicit SequenceObject(const Napi::CallbackInfo& info);
  ~SequenceObject() override { value_.release(Env()); }

  const std::shared_ptr<EngineSequence>& sequence(Napi::Env env) const { return value_.get(env, "the sequence"); }
  void release(Napi::Env env) override { value_.release(env); }

 private:
  void close(const Napi::CallbackInfo& info) { value_.release(info.Env()); }

  OwnedValue<EngineSequence> value_;
};

}  // namespace llama::addon

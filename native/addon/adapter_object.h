#pragma once
#include <napi.h>

#include "engine.h"
#include "model_handle.h"

namespace llama::addon {

// JavaScript: read(): Promise<{a, b}[]>, close().
class AdapterObject : public Napi::ObjectWrap<AdapterObject>, public ModelChild {
 public:
  struct Parts {
    std::shared_ptr<ModelHandle> handle;
    std::shared_ptr<EngineAdapter> adapter;
  };
  static constexpr napi_type_tag type_tag{0x6c6c616d61000001, 0x61646170746572};
  static Napi::Function define(Napi::Env env);
  explicit AdapterObject(const Napi::CallbackInfo& info);
  ~AdapterObject() override { value_.release(Env()); }

  const std::shared_ptr<EngineAdapter>& adapter(Napi::Env env) const { return value_.get(env, "the adapter"); }
  const ModelHandle* handle() const { return value_.handle().get(); }
  void release(Napi::Env env) override { value_.release(env); }

 private:
  Napi::Value read(const Napi::CallbackInfo& info);
  void close(const Napi::CallbackInfo& info) { value_.release(info.Env()); }

  OwnedValue<EngineAdapter> value_;
};

Napi::Array from_module_tensors(Napi::Env env, std::vector<ModuleTensors>&& modules);

}  // namespace llama::addon

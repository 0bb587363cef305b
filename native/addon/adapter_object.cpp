#include "adapter_object.h"

#include "classes.h"

namespace llama::addon {

Napi::Function AdapterObject::define(Napi::Env env) {
  return DefineClass(env, "Adapter",
                     {InstanceMethod("read", &AdapterObject::read), InstanceMethod("close", &AdapterObject::close)});
}

AdapterObject::AdapterObject(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  Parts& parts = parts_of<Parts>(info);
  info.This().As<Napi::Object>().TypeTag(&type_tag);
  const size_t bytes = parts.adapter->bytes();
  value_.set(info.Env(), parts.handle, this, parts.adapter, bytes);
}

Napi::Value AdapterObject::read(const Napi::CallbackInfo& info) {
  value_.handle()->check_open(info.Env());
  return value_.handle()->executor->run(
      info.Env(), [adapter = adapter(info.Env())] { return adapter->read(); },
      from_module_tensors);
}

Napi::Array from_module_tensors(Napi::Env env, std::vector<ModuleTensors>&& modules) {
  const Napi::Array array = Napi::Array::New(env, modules.size());
  for (uint32_t i = 0; i < modules.size(); ++i) {
    const Napi::Object pair = Napi::Object::New(env);
    pair.Set("a", from_floats(env, std::move(modules[i].a)));
    pair.Set("b", from_floats(env, std::move(modules[i].b)));
    array.Set(i, pair);
  }
  return array;
}

}  // namespace llama::addon

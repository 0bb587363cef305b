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
  const size_t bytes = static_cast<size_t>(parts.adapter->parameter_count()) * sizeof(float);
  value_.set(info.Env(), parts.handle, this, parts.adapter, bytes);
}

Napi::Value AdapterObject::read(const Napi::CallbackInfo& info) {
  value_.handle()->check_open(info.Env());
  return value_.handle()->executor->run(
      info.Env(), [adapter = adapter(info.Env())] { return module_tensors(*adapter, adapter->parameters()); },
      from_module_tensors);
}

std::vector<ModuleTensors> module_tensors(const Adapter& adapter, const float* values) {
  std::vector<ModuleTensors> modules;
  for (const AdapterModule& module : adapter.modules()) {
    const float* a = values + module.a;
    const float* b = values + module.b;
    modules.push_back({{a, a + module.rank * module.in}, {b, b + module.rank * module.out}});
  }
  return modules;
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

#include "gpu.h"

#include <dlfcn.h>

#include <map>
#include <mutex>

#include "arguments.h"

namespace llama::addon {

GpuModule* open_gpu_module(const std::string& file, std::string& problem) {
  static std::mutex mutex;
  static std::map<std::string, GpuModule*> opened;  // never closed: its objects may outlive any one model
  const std::lock_guard lock(mutex);
  GpuModule*& module = opened[file];
  if (module == nullptr) {
    void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    auto* entry = library ? reinterpret_cast<GpuModuleEntry>(dlsym(library, "llama_gpu_module")) : nullptr;
    if (entry == nullptr) {
      const char* reason = dlerror();
      problem = std::string("the GPU module cannot be opened: ") + (reason ? reason : "it has no entry point");
      return nullptr;
    }
    module = entry();
  }
  return module;
}

Napi::Value gpus(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Object result = Napi::Object::New(env);
  const Napi::Array cards = Napi::Array::New(env);
  result.Set("cards", cards);
  GpuProbe probe;
  if (GpuModule* module = open_gpu_module(to_string(info[0], "file"), probe.problem)) probe = module->probe();
  for (const GpuCard& card : probe.cards) {
    const Napi::Object object = Napi::Object::New(env);
    object.Set("index", card.index);
    object.Set("name", card.name);
    object.Set("capability", card.major * 10 + card.minor);
    object.Set("memory", static_cast<double>(card.memory));
    object.Set("available", static_cast<double>(card.available));
    cards.Set(cards.Length(), object);
  }
  result.Set("problem", probe.problem.empty() ? env.Null() : Napi::Value(Napi::String::New(env, probe.problem)));
  return result;
}

GpuOptions to_gpu_options(const Napi::Value& value) {
  const Napi::Object object = to_object(value, "gpu");
  GpuOptions options;
  options.card = static_cast<int>(to_integer(object.Get("card"), "gpu.card", 0, 1024));
  options.dtype = to_string(object.Get("dtype"), "gpu.dtype");
  const std::string quantization = to_string(object.Get("quantization"), "gpu.quantization");
  if (quantization == "int8") {
    options.quantization = Quantization::int8;
  } else if (quantization == "int4") {
    options.quantization = Quantization::int4;
  } else if (quantization == "nf4") {
    options.quantization = Quantization::nf4;
  } else if (quantization != "none") {
    refuse(value.Env(), "gpu.quantization is \"" + quantization + "\", allowed are none, int8, int4, nf4");
  }
  return options;
}

}  // namespace llama::addon

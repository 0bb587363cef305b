// Entry point of llama_cpu.node: load(), the instruction sets this processor can run, and the GPUs.
#include <napi.h>

#include "adapter_object.h"
#include "classes.h"
#include "gpu.h"
#include "model_object.h"
#include "sequence_object.h"
#include "trainer_object.h"

namespace llama::addon {
namespace {

Napi::Value instruction_sets(const Napi::CallbackInfo& info) {
  const std::vector<std::string> names = available_ops();
  const Napi::Array array = Napi::Array::New(info.Env(), names.size());
  for (uint32_t i = 0; i < names.size(); ++i) array.Set(i, names[i]);
  return array;
}

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  auto* classes = new Classes;  // owned by the environment
  classes->model = Napi::Persistent(ModelObject::define(env));
  classes->adapter = Napi::Persistent(AdapterObject::define(env));
  classes->sequence = Napi::Persistent(SequenceObject::define(env));
  classes->trainer = Napi::Persistent(TrainerObject::define(env));
  env.SetInstanceData(classes);
  exports.Set("load", Napi::Function::New(env, load_model, "load"));
  exports.Set("instructionSets", Napi::Function::New(env, instruction_sets, "instructionSets"));
  exports.Set("gpus", Napi::Function::New(env, gpus, "gpus"));
  return exports;
}

}  // namespace
}  // namespace llama::addon

static Napi::Object initialize_module(Napi::Env env, Napi::Object exports) {
  return llama::addon::initialize(env, exports);
}

NODE_API_MODULE(llama_cpu, initialize_module)

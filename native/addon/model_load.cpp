#include <cmath>
#include <map>

#include "classes.h"
#include "engine_error.h"
#include "gpu.h"
#include "model_object.h"

namespace llama::addon {
namespace {

LlamaConfig to_config(const Napi::Value& value) {
  const Napi::Object object = to_object(value, "config");
  const auto integer = [&](const char* field, int64_t least = 1) {
    return to_integer(object.Get(field), std::string("config.") + field, least, INT32_MAX);
  };
  LlamaConfig config;
  config.vocab = integer("vocabSize");
  config.hidden = integer("hiddenSize");
  config.intermediate = integer("intermediateSize");
  config.layers = static_cast<int>(integer("layers"));
  config.heads = static_cast<int>(integer("heads"));
  config.kv_heads = static_cast<int>(integer("kvHeads"));
  config.head_dim = static_cast<int>(integer("headDim"));
  config.max_positions = integer("maxPositionEmbeddings");
  config.window = object.Get("slidingWindow").IsNull() ? 0 : integer("slidingWindow");
  config.rms_norm_eps = static_cast<float>(to_number(object.Get("rmsNormEps"), "config.rmsNormEps"));
  config.tied_head = to_boolean(object.Get("tiedHead"), "config.tiedHead");
  config.attention_bias = to_boolean(object.Get("attentionBias"), "config.attentionBias");
  config.query_key_norm = to_boolean(object.Get("queryKeyNorm"), "config.queryKeyNorm");
  const Napi::Object rope = to_object(object.Get("rope"), "config.rope");
  const Napi::Float32Array inverse =
      to_float32_array(rope.Get("inverseFrequencies"), "config.rope.inverseFrequencies");
  config.inverse_frequencies.assign(inverse.Data(), inverse.Data() + inverse.ElementLength());
  config.attention_scaling =
      static_cast<float>(to_number(rope.Get("attentionScaling"), "config.rope.attentionScaling"));
  return config;
}

struct StoredType {
  StorageType type;
  BlockFormat blocks;
};

StoredType to_type(const Napi::Value& value, const std::string& name) {
  static const std::map<std::string, StoredType> types = {
      {"F32", {StorageType::f32, BlockFormat::none}},  {"F16", {StorageType::f16, BlockFormat::none}},
      {"BF16", {StorageType::bf16, BlockFormat::none}}, {"Q4_0", {StorageType::f32, BlockFormat::q4_0}},
      {"Q4_1", {StorageType::f32, BlockFormat::q4_1}}, {"Q5_0", {StorageType::f32, BlockFormat::q5_0}},
      {"Q5_1", {StorageType::f32, BlockFormat::q5_1}}, {"Q8_0", {StorageType::f32, BlockFormat::q8_0}},
      {"Q2_K", {StorageType::f32, BlockFormat::q2_k}}, {"Q3_K", {StorageType::f32, BlockFormat::q3_k}},
      {"Q4_K", {StorageType::f32, BlockFormat::q4_k}}, {"Q5_K", {StorageType::f32, BlockFormat::q5_k}},
      {"Q6_K", {StorageType::f32, BlockFormat::q6_k}}};
  const std::string text = to_string(value, name);
  const auto found = types.find(text);
  if (found != types.end()) return found->second;
  std::string allowed;
  for (const auto& [known, type] : types) allowed += (allowed.empty() ? "" : ", ") + known;
  refuse(value.Env(), name + " is \"" + text + "\", allowed are " + allowed);
}

// tensors: {name, file, offset, dtype, shape, interleavedHeads?}[]
TensorSources to_tensors(const Napi::Value& value) {
  const Napi::Array array = to_array(value, "tensors");
  TensorSources sources;
  for (uint32_t i = 0; i < array.Length(); ++i) {
    const Napi::Object object = to_object(array[i], "tensors[" + std::to_string(i) + "]");
    const std::string name = to_string(object.Get("name"), "tensors[" + std::to_string(i) + "].name");
    TensorSource source;
    source.file = to_string(object.Get("file"), name + ".file");
    source.offset = to_integer(object.Get("offset"), name + ".offset", 0, (int64_t{1} << 53) - 1);
    const StoredType stored = to_type(object.Get("dtype"), name + ".dtype");
    source.type = stored.type;
    source.blocks = stored.blocks;
    const Napi::Value heads = object.Get("interleavedHeads");
    if (!heads.IsUndefined()) {
      source.interleaved_heads = static_cast<int>(to_integer(heads, name + ".interleavedHeads", 1, INT32_MAX));
    }
    const Napi::Array shape = to_array(object.Get("shape"), name + ".shape");
    for (uint32_t axis = 0; axis < shape.Length(); ++axis) {
      source.shape.push_back(to_integer(shape[axis], name + ".shape", 0, (int64_t{1} << 53) - 1));
    }
    sources[name] = std::move(source);
  }
  return sources;
}

class Progress final : public Message {
 public:
  Progress(const Napi::FunctionReference& callback, double fraction) : callback_(callback), fraction_(fraction) {}
  void deliver(Napi::Env env) override { callback_.Call({Napi::Number::New(env, fraction_)}); }

 private:
  const Napi::FunctionReference& callback_;  // of the job, which is delivered after this
  double fraction_;
};

}  // namespace

Napi::Value load_model(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Object object = to_object(info[0], "options");
  auto handle = std::make_shared<ModelHandle>();
  handle->executor = Executor::create(env);

  ModelOptions options;
  options.config = to_config(object.Get("config"));
  options.tensors = to_tensors(object.Get("tensors"));
  const std::string isa = to_string(object.Get("isa"), "isa");
  const auto threads = static_cast<int>(to_integer(object.Get("threads"), "threads", 1, 1024));
  options.checkpointed_layers =
      static_cast<int>(to_integer(object.Get("checkpointedLayers"), "checkpointedLayers", -1, INT32_MAX));
  options.cache_bytes = to_integer(object.Get("cacheBytes"), "cacheBytes", 0, int64_t{1} << 53);
  options.stop = handle->executor->stop_flag();
  const std::string gpu_module = to_string(object.Get("gpuModule"), "gpuModule");
  const GpuOptions gpu = gpu_module.empty() ? GpuOptions{} : to_gpu_options(object.Get("gpu"));

  const Napi::Value flag = object.Get("cancelled");
  if (!flag.IsTypedArray() || flag.As<Napi::TypedArray>().TypedArrayType() != napi_int32_array ||
      flag.As<Napi::Int32Array>().ElementLength() < 1) {
    refuse(env, "cancelled is not an Int32Array");
  }
  int32_t* const cancelled = flag.As<Napi::Int32Array>().Data();
  auto callback = std::make_shared<Napi::FunctionReference>();  // destroyed with the job, on the JavaScript thread
  if (info[1].IsFunction()) *callback = Napi::Persistent(info[1].As<Napi::Function>());

  return handle->executor->run(
      env,
      [handle, options = std::move(options), isa, threads, gpu_module, gpu, cancelled, callback,
       keep_alive = Napi::Persistent(flag.As<Napi::Object>())]() mutable {
        const auto stop = options.stop;
        const LoadProgress progress{
            [&](double fraction) {
              if (!callback->IsEmpty()) handle->executor->tell(std::make_unique<Progress>(*callback, fraction));
            },
            [&] { return *stop || std::atomic_ref<int32_t>(*cancelled).load(std::memory_order_relaxed) != 0; }};
        if (gpu_module.empty()) {
          handle->model = load_on_cpu(std::move(options), isa, threads, progress);
          return true;
        }
        std::string problem;
        GpuModule* module = open_gpu_module(gpu_module, problem);
        if (module == nullptr) throw EngineError("ENGINE_UNAVAILABLE", problem);
        handle->model = module->load(options, gpu, progress);
        return true;
      },
      [handle](Napi::Env env, bool&&) -> Napi::Value {
        ModelObject::Parts parts{handle};
        return construct(env, env.GetInstanceData<Classes>()->model, parts);
      });
}

}  // namespace llama::addon

#include "model_object.h"

#include "adapter_object.h"
#include "classes.h"
#include "group_argument.h"
#include "sequence_object.h"
#include "trainer_object.h"

namespace llama::addon {
namespace {

constexpr int64_t safe_integer = (int64_t{1} << 53) - 1;

// Views of the modules' arrays; the references keep the arrays alive until the job is destroyed.
struct AdapterSource {
  std::vector<AdapterTensors> tensors;
  std::vector<Napi::ObjectReference> arrays;
};

AdapterSource to_adapter_source(const Napi::Value& value) {
  const Napi::Array modules = to_array(value, "modules");
  AdapterSource source;
  for (uint32_t i = 0; i < modules.Length(); ++i) {
    const std::string name = "modules[" + std::to_string(i) + "]";
    const Napi::Object module = to_object(modules[i], name);
    const Napi::Float32Array a = to_float32_array(module.Get("a"), name + ".a");
    const Napi::Float32Array b = to_float32_array(module.Get("b"), name + ".b");
    const double scale = to_number(module.Get("scale"), name + ".scale");
    source.tensors.push_back(
        {static_cast<int>(to_integer(module.Get("layer"), name + ".layer", 0, INT32_MAX)),
         static_cast<Linear>(to_integer(module.Get("linear"), name + ".linear", 0, linear_count - 1)),
         static_cast<int>(to_integer(module.Get("rank"), name + ".rank", 1, INT32_MAX)), static_cast<float>(scale),
         a.Data(), static_cast<int64_t>(a.ElementLength()), b.Data(), static_cast<int64_t>(b.ElementLength())});
    source.arrays.push_back(Napi::Persistent(static_cast<Napi::Object>(a)));
    source.arrays.push_back(Napi::Persistent(static_cast<Napi::Object>(b)));
  }
  return source;
}

std::optional<Sampling> to_sampling(const Napi::Value& value, const std::string& name) {
  if (value.IsNull()) return std::nullopt;
  const Napi::Object object = to_object(value, name);
  Sampling sampling;
  sampling.temperature = static_cast<float>(to_number(object.Get("temperature"), name + ".temperature"));
  sampling.top_p = to_number(object.Get("topP"), name + ".topP");
  sampling.top_k = to_integer(object.Get("topK"), name + ".topK", 0, safe_integer);
  sampling.repetition_penalty =
      static_cast<float>(to_number(object.Get("repetitionPenalty"), name + ".repetitionPenalty"));
  sampling.seed = static_cast<uint64_t>(to_integer(object.Get("seed"), name + ".seed", 0, safe_integer));
  sampling.index = static_cast<uint64_t>(to_integer(object.Get("index"), name + ".index", 0, safe_integer));
  if (sampling.temperature < 0) refuse(value.Env(), name + ".temperature is negative");
  if (sampling.temperature < coldest_temperature) sampling.temperature = 0;
  if (sampling.repetition_penalty <= 0) refuse(value.Env(), name + ".repetitionPenalty is not positive");
  const Napi::Value forbidden = object.Get("forbidden");
  if (!forbidden.IsUndefined()) {
    const Napi::Array tokens = to_array(forbidden, name + ".forbidden");
    for (uint32_t i = 0; i < tokens.Length(); ++i) {
      sampling.forbidden.push_back(static_cast<int32_t>(to_integer(tokens[i], name + ".forbidden", 0, INT32_MAX)));
    }
  }
  return sampling;
}

Napi::Object from_results(Napi::Env env, const std::vector<StepResult>& results) {
  Napi::Int32Array tokens = Napi::Int32Array::New(env, results.size());
  Napi::Array failures = Napi::Array::New(env);
  for (size_t i = 0; i < results.size(); ++i) {
    tokens[i] = results[i].token;
    if (const auto& failure = results[i].failure) {
      failures.Set(static_cast<uint32_t>(i), to_javascript(env, {failure->code(), failure->what()}).Value());
    }
  }
  Napi::Object object = Napi::Object::New(env);
  object.Set("tokens", tokens);
  object.Set("failures", failures);
  return object;
}

}  // namespace

Napi::Function ModelObject::define(Napi::Env env) {
  return DefineClass(env, "Model",
                     {InstanceMethod("createAdapter", &ModelObject::create_adapter),
                      InstanceMethod("createSequence", &ModelObject::create_sequence),
                      InstanceMethod("step", &ModelObject::step), InstanceMethod("logits", &ModelObject::logits),
                      InstanceMethod("createTrainer", &ModelObject::create_trainer),
                      InstanceMethod("close", &ModelObject::close)});
}

ModelObject::ModelObject(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  handle_ = parts_of<Parts>(info).handle;
  const Napi::Object self = info.This().As<Napi::Object>();
  self.TypeTag(&type_tag);
  weight_bytes_ = static_cast<int64_t>(handle_->model->weight_bytes());
  self.Set("weightBytes", static_cast<double>(weight_bytes_));
  self.Set("cacheTokens", static_cast<double>(handle_->model->cache_tokens()));
  self.Set("cachePageTokens", static_cast<double>(handle_->model->cache_page_tokens()));
  self.Set("kernels", handle_->model->kernels());
  Napi::MemoryManagement::AdjustExternalMemory(info.Env(), weight_bytes_);
}

ModelObject::~ModelObject() { Napi::MemoryManagement::AdjustExternalMemory(Env(), -weight_bytes_); }

std::shared_ptr<EngineAdapter> ModelObject::adapter_of(const Napi::Value& value) const {
  if (value.IsNull()) return nullptr;
  const auto* object = to_wrapped<AdapterObject>(value, "adapter");
  if (object->handle() != handle_.get()) refuse(value.Env(), "the adapter belongs to another model");
  return object->adapter(value.Env());
}

Napi::Value ModelObject::create_adapter(const Napi::CallbackInfo& info) {
  handle_->check_open(info.Env());
  const bool beside = handle_->model->makes_adapters_beside_steps();
  if (beside && !handle_->adapter_executor) handle_->adapter_executor = Executor::create(info.Env());
  const std::shared_ptr<Executor>& executor = beside ? handle_->adapter_executor : handle_->executor;
  return executor->run(
      info.Env(),
      // Beside the executor the model itself is held: close() takes it from the handle there.
      [handle = handle_, own = beside ? handle_->model : nullptr, source = to_adapter_source(info[0])] {
        return (own ? own : handle->model)->make_adapter(source.tensors);
      },
      [handle = handle_](Napi::Env env, std::shared_ptr<EngineAdapter>&& adapter) -> Napi::Value {
        handle->check_open(env);
        AdapterObject::Parts parts{handle, std::move(adapter)};
        return construct(env, env.GetInstanceData<Classes>()->adapter, parts);
      });
}

Napi::Value ModelObject::create_sequence(const Napi::CallbackInfo& info) {
  handle_->check_open(info.Env());
  return handle_->executor->run(
      info.Env(),
      [handle = handle_, capacity = to_integer(info[0], "capacity", 1, INT32_MAX), adapter = adapter_of(info[1])] {
        return handle->model->make_sequence(capacity, adapter);
      },
      [handle = handle_](Napi::Env env, std::shared_ptr<EngineSequence>&& sequence) -> Napi::Value {
        handle->check_open(env);
        SequenceObject::Parts parts{handle, std::move(sequence)};
        return construct(env, env.GetInstanceData<Classes>()->sequence, parts);
      });
}

Napi::Value ModelObject::step(const Napi::CallbackInfo& info) {
  handle_->check_open(info.Env());
  const Napi::Array sequences = to_array(info[0], "sequences"), positions = to_array(info[1], "positions"),
                    tokens = to_array(info[2], "tokens"), samplings = to_array(info[3], "samplings"),
                    endings = to_array(info[4], "endings");
  const uint32_t count = sequences.Length();
  if (positions.Length() != count || tokens.Length() != count || samplings.Length() != count || endings.Length() != count) {
    refuse(info.Env(), "step: the arrays differ in length");
  }
  std::vector<StepRequest> requests;
  for (uint32_t i = 0; i < count; ++i) {
    const std::string name = "request " + std::to_string(i);
    requests.push_back({to_wrapped<SequenceObject>(sequences[i], name)->sequence(info.Env()),
                        to_integer(positions[i], name + " position", 0, INT32_MAX),
                        to_int32_vector(tokens[i], name + " tokens"), to_sampling(samplings[i], name + " sampling")});
    const Napi::Value unless = endings[i];
    if (!unless.IsNull()) requests.back().continues_unless = to_int32_vector(unless, name + " continuesUnless");
  }
  return handle_->executor->run(
      info.Env(),
      [handle = handle_, requests = std::move(requests)] {
        std::vector<StepResult> results = handle->model->step(requests);
        handle->executor->when_idle([model = handle->model] { model->run_ahead(); });
        return results;
      },
      from_results);
}

Napi::Value ModelObject::logits(const Napi::CallbackInfo& info) {
  handle_->check_open(info.Env());
  PackedBatch batch{to_int32_vector(info[0], "tokens"), {}, {}};
  if (batch.tokens.size() > (1u << 26)) refuse(info.Env(), "tokens: there are more than 2^26");
  batch.offsets = {0, static_cast<int32_t>(batch.tokens.size())};
  return handle_->executor->run(
      info.Env(),
      [handle = handle_, batch = std::move(batch), adapter = adapter_of(info[1])] {
        return handle->model->logits(batch, adapter);
      },
      from_floats);
}

Napi::Value ModelObject::create_trainer(const Napi::CallbackInfo& info) {
  handle_->check_open(info.Env());
  const std::shared_ptr<EngineAdapter> adapter = adapter_of(info[0]);
  if (!adapter) refuse(info.Env(), "adapter is null");
  return handle_->executor->run(
      info.Env(),
      [handle = handle_, adapter, group = to_group(info[1], handle_->executor->stop_flag())] {
        std::shared_ptr<EngineTrainer> trainer = handle->model->make_trainer(adapter);
        if (group) trainer->set_communicator(join(*group));
        return trainer;
      },
      [handle = handle_](Napi::Env env, std::shared_ptr<EngineTrainer>&& trainer) -> Napi::Value {
        handle->check_open(env);
        TrainerObject::Parts parts{handle, std::move(trainer)};
        return construct(env, env.GetInstanceData<Classes>()->trainer, parts);
      });
}

Napi::Value ModelObject::close(const Napi::CallbackInfo& info) {
  handle_->check_open(info.Env());
  handle_->closed = true;
  const std::unordered_set<ModelChild*> children = handle_->children;  // release() takes them out of the set
  for (ModelChild* child : children) child->release(info.Env());
  Napi::MemoryManagement::AdjustExternalMemory(info.Env(), -weight_bytes_);
  weight_bytes_ = 0;
  return handle_->executor->run(
      info.Env(),
      [handle = handle_] { handle->model.reset(); },
      nullptr);
}

}  // namespace llama::addon

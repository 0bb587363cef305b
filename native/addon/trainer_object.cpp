#include "trainer_object.h"

#include "adapter_object.h"
#include "classes.h"

namespace llama::addon {
namespace {

PackedBatch to_batch(const Napi::CallbackInfo& info) {
  return {to_int32_vector(info[0], "batch.tokens"), to_int32_vector(info[1], "batch.targets"),
          to_int32_vector(info[2], "batch.offsets")};
}

Dropout to_dropout(const Napi::Value& value) {
  if (value.IsNull()) return {};
  const Napi::Object object = to_object(value, "dropout");
  const double probability = to_number(object.Get("probability"), "dropout.probability");
  if (probability < 0 || probability >= 1) refuse(value.Env(), "dropout.probability is not in [0, 1)");
  return {static_cast<float>(probability),
          static_cast<uint64_t>(to_integer(object.Get("seed"), "dropout.seed", 0, int64_t{1} << 53)),
          static_cast<uint32_t>(to_integer(object.Get("step"), "dropout.step", 0, UINT32_MAX))};
}

OptimizerStep to_step(const Napi::Value& value) {
  const Napi::Object object = to_object(value, "step");
  const auto number = [&](const char* field) {
    return to_number(object.Get(field), std::string("step.") + field);
  };
  return {static_cast<float>(number("learningRate")), static_cast<float>(number("beta1")),
          static_cast<float>(number("beta2")),        static_cast<float>(number("epsilon")),
          static_cast<float>(number("weightDecay")),  number("maxGradNorm")};
}

std::vector<ModuleTensors> to_module_tensors(const Napi::Value& value, const std::string& name) {
  const Napi::Array array = to_array(value, name);
  std::vector<ModuleTensors> modules(array.Length());
  for (uint32_t i = 0; i < modules.size(); ++i) {
    const Napi::Object module = to_object(array[i], name);
    for (const auto& [field, to] : {std::pair{"a", &modules[i].a}, std::pair{"b", &modules[i].b}}) {
      const Napi::Float32Array values = to_float32_array(module.Get(field), name + "." + field);
      to->assign(values.Data(), values.Data() + values.ElementLength());
    }
  }
  return modules;
}

OptimizerState to_optimizer_state(const Napi::Value& value) {
  const Napi::Object object = to_object(value, "state"), scale = to_object(object.Get("lossScale"), "state.lossScale");
  return {to_integer(object.Get("steps"), "state.steps", 0, int64_t{1} << 53),
          to_module_tensors(object.Get("first"), "state.first"),
          to_module_tensors(object.Get("second"), "state.second"),
          {static_cast<float>(to_number(scale.Get("value"), "state.lossScale.value")),
           to_integer(scale.Get("steadySteps"), "state.lossScale.steadySteps", 0, int64_t{1} << 53)}};
}

Napi::Value from_optimizer_state(Napi::Env env, OptimizerState&& state) {
  const Napi::Object scale = Napi::Object::New(env), object = Napi::Object::New(env);
  scale.Set("value", state.loss_scale.value);
  scale.Set("steadySteps", static_cast<double>(state.loss_scale.steady_steps));
  object.Set("steps", static_cast<double>(state.steps));
  object.Set("first", from_module_tensors(env, std::move(state.first)));
  object.Set("second", from_module_tensors(env, std::move(state.second)));
  object.Set("lossScale", scale);
  return object;
}

Napi::Value from_loss(Napi::Env env, LossSum&& sum) {
  const Napi::Object object = Napi::Object::New(env);
  object.Set("loss", sum.loss);
  object.Set("targets", static_cast<double>(sum.targets));
  return object;
}

}  // namespace

Napi::Function TrainerObject::define(Napi::Env env) {
  return DefineClass(env, "Trainer",
                     {InstanceMethod("accumulate", &TrainerObject::accumulate),
                      InstanceMethod("evaluate", &TrainerObject::evaluate),
                      InstanceMethod("update", &TrainerObject::update),
                      InstanceMethod("gradients", &TrainerObject::gradients),
                      InstanceMethod("optimizerState", &TrainerObject::optimizer_state),
                      InstanceMethod("restoreOptimizer", &TrainerObject::restore_optimizer),
                      InstanceMethod("plan", &TrainerObject::plan),
                      InstanceMethod("releaseActivations", &TrainerObject::release_activations),
                      InstanceMethod("sum", &TrainerObject::sum), InstanceMethod("finish", &TrainerObject::finish),
                      InstanceMethod("close", &TrainerObject::close)});
}

TrainerObject::TrainerObject(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  Parts& parts = parts_of<Parts>(info);
  info.This().As<Napi::Object>().TypeTag(&type_tag);
  const size_t bytes = parts.trainer->state_bytes();
  value_.set(info.Env(), parts.handle, this, parts.trainer, bytes);
}

const std::shared_ptr<EngineTrainer>& TrainerObject::trainer(Napi::Env env) const {
  value_.handle()->check_open(env);
  return value_.get(env, "the trainer");
}

Napi::Value TrainerObject::accumulate(const Napi::CallbackInfo& info) {
  const auto scale = static_cast<float>(to_number(info[3], "gradientScale"));
  return value_.handle()->executor->run(
      info.Env(),
      [trainer = trainer(info.Env()), batch = to_batch(info), scale, dropout = to_dropout(info[4])] {
        return trainer->accumulate(batch, scale, dropout);
      },
      from_loss);
}

Napi::Value TrainerObject::evaluate(const Napi::CallbackInfo& info) {
  return value_.handle()->executor->run(
      info.Env(), [trainer = trainer(info.Env()), batch = to_batch(info)] { return trainer->evaluate(batch); },
      from_loss);
}

Napi::Value TrainerObject::update(const Napi::CallbackInfo& info) {
  return value_.handle()->executor->run(
      info.Env(), [trainer = trainer(info.Env()), step = to_step(info[0])] { return trainer->update(step); },
      [](Napi::Env env, double norm) { return Napi::Number::New(env, norm); });
}

Napi::Value TrainerObject::gradients(const Napi::CallbackInfo& info) {
  return value_.handle()->executor->run(
      info.Env(), [trainer = trainer(info.Env())] { return trainer->gradients(); }, from_module_tensors);
}

Napi::Value TrainerObject::optimizer_state(const Napi::CallbackInfo& info) {
  return value_.handle()->executor->run(
      info.Env(), [trainer = trainer(info.Env())] { return trainer->optimizer_state(); }, from_optimizer_state);
}

Napi::Value TrainerObject::restore_optimizer(const Napi::CallbackInfo& info) {
  return value_.handle()->executor->run(
      info.Env(),
      [trainer = trainer(info.Env()), state = to_optimizer_state(info[0])] { trainer->restore_optimizer(state); },
      nullptr);
}

Napi::Value TrainerObject::plan(const Napi::CallbackInfo& info) {
  const int64_t tokens = to_integer(info[0], "tokens", 1, int64_t{1} << 26);
  return value_.handle()->executor->run(
      info.Env(),
      [trainer = trainer(info.Env()), tokens, dropout = to_boolean(info[1], "dropout")] {
        return trainer->plan(tokens, dropout);
      },
      [](Napi::Env env, MemoryPlan&& plan) {
        const Napi::Object object = Napi::Object::New(env);
        const std::pair<const char*, int64_t> fields[] = {
            {"weights", plan.weights},         {"adapter", plan.adapter},     {"optimizer", plan.optimizer},
            {"activations", plan.activations}, {"workspace", plan.workspace}, {"available", plan.available},
            {"checkpointedLayers", plan.checkpointed_layers}, {"layers", plan.layers}};
        for (const auto& [name, value] : fields) object.Set(name, static_cast<double>(value));
        return object;
      });
}

Napi::Value TrainerObject::release_activations(const Napi::CallbackInfo& info) {
  return value_.handle()->executor->run(
      info.Env(), [trainer = trainer(info.Env())] { trainer->release_activations(); }, nullptr);
}

Napi::Value TrainerObject::sum(const Napi::CallbackInfo& info) {
  return value_.handle()->executor->run(
      info.Env(),
      [trainer = trainer(info.Env()), values = to_double_vector(info[0], "values")]() mutable {
        if (Communicator* const ranks = trainer->communicator()) {
          ranks->all_reduce_sum(values.data(), static_cast<int64_t>(values.size()));
        }
        return std::move(values);
      },
      [](Napi::Env env, std::vector<double>&& sums) {
        Napi::Float64Array array = Napi::Float64Array::New(env, sums.size());
        std::copy(sums.begin(), sums.end(), array.Data());
        return array;
      });
}

Napi::Value TrainerObject::finish(const Napi::CallbackInfo& info) {
  return value_.handle()->executor->run(
      info.Env(),
      [trainer = trainer(info.Env())] {
        if (Communicator* const ranks = trainer->communicator()) ranks->finish();
      },
      nullptr);
}

}  // namespace llama::addon

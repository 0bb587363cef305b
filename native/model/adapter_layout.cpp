#include "adapter_layout.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "engine_error.h"

namespace llama {
namespace {

constexpr int largest_module_rank = 4096;

std::string module_name(int layer, Linear linear) {
  return "adapter module layer " + std::to_string(layer) + " " + name_of(linear);
}

void check_values(const float* values, int64_t length, int64_t expected, const std::string& name) {
  if (length != expected) {
    throw EngineError("ADAPTER_MISMATCH", name + " has " + std::to_string(length) + " elements, the model needs " +
                                              std::to_string(expected));
  }
  if (!std::all_of(values, values + length, [](float value) { return std::isfinite(value); })) {
    throw EngineError("ENGINE_ARGUMENT", name + " holds a value that is not finite");
  }
}

}  // namespace

AdapterLayout::AdapterLayout(const LlamaConfig& config, const std::vector<AdapterTensors>& tensors)
    : groups_(static_cast<size_t>(config.layers) * group_count) {
  for (const AdapterTensors& source : tensors) {
    if (source.layer < 0 || source.layer >= config.layers) {
      throw EngineError("ADAPTER_MISMATCH", module_name(source.layer, source.linear) + ": the model has " +
                                                std::to_string(config.layers) + " layers");
    }
    const std::string name = module_name(source.layer, source.linear);
    if (source.rank < 1 || source.rank > largest_module_rank) {
      throw EngineError("ENGINE_ARGUMENT", name + ": rank is " + std::to_string(source.rank) + ", allowed are 1 to " +
                                               std::to_string(largest_module_rank));
    }
    AdapterModule module{source.layer, source.linear, source.rank, source.scale};
    module.in = config.cols(source.linear);
    module.out = config.rows(source.linear);
    check_values(source.a, source.a_length, source.rank * module.in, name + " A");
    check_values(source.b, source.b_length, source.rank * module.out, name + " B");
    check_values(&source.scale, 1, 1, name + " scale");
    modules_.push_back(module);
  }

  // Offsets are given in the order of layer and linear, whatever the order of the modules.
  std::vector<AdapterModule*> ordered;
  for (AdapterModule& module : modules_) ordered.push_back(&module);
  std::sort(ordered.begin(), ordered.end(), [](const AdapterModule* x, const AdapterModule* y) {
    return x->layer != y->layer ? x->layer < y->layer : x->linear < y->linear;
  });
  for (size_t begin = 0; begin < ordered.size();) {
    const AdapterModule& first = *ordered[begin];
    size_t end = begin;
    while (end < ordered.size() && ordered[end]->layer == first.layer &&
           group_of(ordered[end]->linear) == group_of(first.linear)) {
      if (end > begin && ordered[end]->linear == ordered[end - 1]->linear) {
        throw EngineError("ENGINE_ARGUMENT", module_name(first.layer, ordered[end]->linear) + " is there twice");
      }
      ++end;
    }
    AdapterGroup& group =
        groups_[static_cast<size_t>(place_of(first.layer, group_of(first.linear)))];
    group.a = parameter_count_;
    for (size_t i = begin; i < end; ++i) {
      ordered[i]->a = parameter_count_;
      ordered[i]->column = group.rank;
      parameter_count_ += ordered[i]->rank * ordered[i]->in;
      group.rank += ordered[i]->rank;
    }
    for (size_t i = begin; i < end; ++i) {
      ordered[i]->b = parameter_count_;
      parameter_count_ += ordered[i]->rank * ordered[i]->out;
      group.modules.push_back(*ordered[i]);
    }
    largest_rank_ = std::max(largest_rank_, group.rank);
    begin = end;
  }
}

std::vector<ModuleTensors> AdapterLayout::split(const std::vector<float>& values) const {
  std::vector<ModuleTensors> result;
  for (const AdapterModule& module : modules_) {
    const float* a = values.data() + module.a;
    const float* b = values.data() + module.b;
    result.push_back({{a, a + module.rank * module.in}, {b, b + module.rank * module.out}});
  }
  return result;
}

std::vector<float> AdapterLayout::join(const std::vector<ModuleTensors>& modules, const std::string& name) const {
  if (modules.size() != modules_.size()) {
    throw EngineError("ENGINE_ARGUMENT", name + " has " + std::to_string(modules.size()) + " modules, the adapter has " +
                                             std::to_string(modules_.size()));
  }
  std::vector<float> values(static_cast<size_t>(parameter_count_));
  const auto copy = [&](const std::vector<float>& from, int64_t count, int64_t to, const std::string& place) {
    if (static_cast<int64_t>(from.size()) != count) {
      throw EngineError("ENGINE_ARGUMENT", place + " has " + std::to_string(from.size()) + " elements, the adapter has " +
                                               std::to_string(count));
    }
    if (!std::all_of(from.begin(), from.end(), [](float value) { return std::isfinite(value); })) {
      throw EngineError("ENGINE_ARGUMENT", place + " holds a value that is not finite");
    }
    std::copy(from.begin(), from.end(), values.begin() + to);
  };
  for (size_t i = 0; i < modules.size(); ++i) {
    const AdapterModule& module = modules_[i];
    const std::string place = name + " of " + module_name(module.layer, module.linear);
    copy(modules[i].a, module.rank * module.in, module.a, place + " A");
    copy(modules[i].b, module.rank * module.out, module.b, place + " B");
  }
  return values;
}

}  // namespace llama

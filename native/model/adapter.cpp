#include "adapter.h"

#include <algorithm>

namespace llama {

template <class T>
Adapter<T>::Adapter(std::shared_ptr<Model<T>> model, const std::vector<AdapterTensors>& tensors)
    : model_(std::move(model)), layout_(model_->config, tensors) {
  BasicOps<T>& ops = *model_->ops;
  const int64_t count = std::max<int64_t>(layout_.parameter_count(), 1);
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < tensors.size(); ++i) {
    std::copy_n(tensors[i].a, tensors[i].a_length, values.data() + layout_.modules()[i].a);
    std::copy_n(tensors[i].b, tensors[i].b_length, values.data() + layout_.modules()[i].b);
  }
  parameters_.hold(ops, values);
  if constexpr (!std::is_same_v<T, float>) rounded_.reserve(ops, count);
  round();

  std::vector<std::vector<LoraTerm<T>>> terms(static_cast<size_t>(layout_.places()));
  for (int place = 0; place < layout_.places(); ++place) {
    for (const AdapterModule& module : layout_.at(place).modules) {
      terms[static_cast<size_t>(place)].push_back({rounded() + module.a, rounded() + module.b, module.in, module.out,
                                                   model_->config.column(module.linear), module.rank, module.scale});
    }
  }
  table_ = ops.make_lora_table(terms);
}

template <class T>
void Adapter<T>::round() {
  ++version_;
  if constexpr (!std::is_same_v<T, float>) {
    const int64_t count = layout_.parameter_count();
    model_->ops->cast(parameters_.data(), count, rounded_.data(), count, 1, count);
  }
}

template <class T>
std::vector<ModuleTensors> Adapter<T>::read() const {
  std::vector<float> values(static_cast<size_t>(layout_.parameter_count()));
  model_->ops->download(values.data(), parameters_.data(), values.size() * sizeof(float));
  return layout_.split(values);
}

#define LLAMA_INSTANTIATE(T) template class Adapter<T>;
LLAMA_FOR_EACH_ACTIVATION(LLAMA_INSTANTIATE)
#undef LLAMA_INSTANTIATE

}  // namespace llama

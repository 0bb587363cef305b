#include "activations.h"

#include <algorithm>
#include <new>
#include <string>

namespace llama {
namespace {

// Hands out arrays of one allocation; with a null base it only measures.
class Arena {
 public:
  Arena(unsigned char* base, int64_t tokens) : base_(base), tokens_(tokens) {}

  template <class E>
  E* take(int64_t width) {
    constexpr int64_t line = 256;  // every array starts on a cache line, of a GPU too
    int64_t size;
    if (__builtin_mul_overflow(width, tokens_, &size) ||
        __builtin_mul_overflow(size, static_cast<int64_t>(sizeof(E)), &size) ||
        __builtin_add_overflow(size, line - 1, &size)) {
      throw std::bad_alloc();
    }
    size = size / line * line;
    auto* array = base_ ? reinterpret_cast<E*>(base_ + used_) : nullptr;
    if (__builtin_add_overflow(used_, size, &used_)) throw std::bad_alloc();
    return array;
  }
  int64_t used() const { return used_; }

 private:
  unsigned char* base_;
  int64_t tokens_;
  int64_t used_ = 0;
};

}  // namespace

LowestModule lowest_module(const AdapterLayout& adapter) {
  LowestModule lowest{INT32_MAX, LinearGroup::down};
  for (const AdapterModule& module : adapter.modules()) {
    const LinearGroup group = group_of(module.linear);
    if (module.layer < lowest.layer || (module.layer == lowest.layer && group < lowest.group)) {
      lowest = {module.layer, group};
    }
  }
  return lowest;
}

template <class T>
int64_t Activations<T>::lay_out(unsigned char* base, const LlamaConfig& config, const AdapterLayout& adapter,
                                const MicroBatch& batch) {
  Arena arena(base, batch.tokens);
  lowest_ = lowest_module(adapter);
  const int kept = config.layers - lowest_.layer;
  checkpointed_layers_ = std::min(batch.checkpointed_layers, kept);
  const int64_t widest = std::max({config.hidden, config.intermediate, config.q_width()});

  // The arrays between a layer's input and its output.
  const auto inner_arrays = [&](LayerRows<T>& rows, const auto& rank_of) {
    rows.middle = arena.template take<float>(config.hidden);
    rows.qkv = arena.template take<T>(config.qkv_width());
    rows.attention = arena.template take<T>(config.q_width());
    rows.gate_up = arena.template take<T>(2 * config.intermediate);
    rows.inverse_rms1 = arena.template take<float>(1);
    rows.inverse_rms2 = arena.template take<float>(1);
    for (int group = 0; group < group_count; ++group) rows.u[group] = arena.template take<T>(rank_of(group));
    return arena.template take<float>(config.heads);
  };
  LayerRows<T> shared{};
  shared.normed = arena.template take<T>(config.hidden);
  shared.activated = arena.template take<T>(config.intermediate);
  shared.rotated = config.query_key_norm ? arena.template take<T>(config.qkv_width()) : nullptr;
  shared.dropped = batch.dropout ? arena.template take<T>(widest) : nullptr;
  float* shared_lse = nullptr;
  if (checkpointed_layers_ > 0) {
    shared_lse = inner_arrays(shared, [&](int group) {
      int64_t largest = 0;
      for (int i = 0; i < checkpointed_layers_; ++i) {
        largest = std::max(largest, adapter.group(lowest_.layer + i, static_cast<LinearGroup>(group)).rank);
      }
      return largest;
    });
  }

  rows_.assign(static_cast<size_t>(kept), shared);
  lse_.assign(static_cast<size_t>(kept), shared_lse);
  auto* hidden = arena.template take<float>(config.hidden);
  for (int i = 0; i < kept; ++i) {
    LayerRows<T>& rows = rows_[static_cast<size_t>(i)];
    rows.input = hidden;
    rows.output = hidden = arena.template take<float>(config.hidden);
    if (i < checkpointed_layers_) continue;
    lse_[static_cast<size_t>(i)] = inner_arrays(
        rows, [&](int group) { return adapter.group(lowest_.layer + i, static_cast<LinearGroup>(group)).rank; });
  }
  backward_.dh = arena.template take<float>(config.hidden);
  if constexpr (std::is_same_v<T, float>) {
    backward_.rounded_dh = backward_.dh;
  } else {
    backward_.rounded_dh = arena.template take<T>(config.hidden);
  }
  backward_.dnormed = arena.template take<T>(config.hidden);
  backward_.dactivated = arena.template take<T>(config.intermediate);
  backward_.dattention = arena.template take<T>(config.q_width());
  backward_.dqkv = arena.template take<T>(config.qkv_width());
  backward_.du = arena.template take<T>(adapter.largest_rank());
  return arena.used();
}

template <class T>
int64_t Activations<T>::bytes_for(const LlamaConfig& config, const AdapterLayout& adapter, const MicroBatch& batch) {
  return Activations().lay_out(nullptr, config, adapter, batch);
}

template <class T>
void Activations<T>::prepare(Device& device, const LlamaConfig& config, const AdapterLayout& adapter,
                             const MicroBatch& batch) {
  const int64_t bytes = lay_out(nullptr, config, adapter, batch);
  if (bytes > static_cast<int64_t>(arena_.bytes())) {
    device.require(bytes - static_cast<int64_t>(arena_.bytes()),
                   "training on a micro-batch of " + std::to_string(batch.tokens) + " tokens",
                   "set micro_batch_size or cutoff_len lower");
  }
  lay_out(arena_.reserve(device, bytes), config, adapter, batch);
}

template <class T>
LayerRows<T> Activations<T>::layer(int layer) const {
  if (layer >= lowest_.layer) return rows_[static_cast<size_t>(layer - lowest_.layer)];
  LayerRows<T> rows = rows_.front();
  rows.middle = rows.output = rows.input;
  return rows;
}

template <class T>
float* Activations<T>::lse(int layer) const {
  return lse_[static_cast<size_t>(std::max(0, layer - lowest_.layer))];
}

#define LLAMA_INSTANTIATE(T) template class Activations<T>;
LLAMA_FOR_EACH_ACTIVATION(LLAMA_INSTANTIATE)
#undef LLAMA_INSTANTIATE

}  // namespace llama

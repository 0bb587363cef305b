#include "activations.h"

#include <algorithm>
#include <new>
#include <string>

#include "available_memory.h"
#include "engine_error.h"

namespace llama {
namespace {

// Hands out arrays of one allocation; with a null base it only measures.
class Arena {
 public:
  Arena(float* base, int64_t tokens) : base_(base), tokens_(tokens) {}

  float* take(int64_t width) {
    int64_t floats;
    if (__builtin_mul_overflow(width, tokens_, &floats) || __builtin_add_overflow(floats, int64_t{15}, &floats)) {
      throw std::bad_alloc();
    }
    floats &= ~int64_t{15};  // every array starts on a cache line
    float* array = base_ ? base_ + used_ : nullptr;
    if (__builtin_add_overflow(used_, floats, &used_)) throw std::bad_alloc();
    return array;
  }
  int64_t used() const { return used_; }

 private:
  float* base_;
  int64_t tokens_;
  int64_t used_ = 0;
};

}  // namespace

LowestModule lowest_module(const Adapter& adapter) {
  LowestModule lowest{INT32_MAX, LinearGroup::down};
  for (const AdapterModule& module : adapter.modules()) {
    const LinearGroup group = group_of(module.linear);
    if (module.layer < lowest.layer || (module.layer == lowest.layer && group < lowest.group)) {
      lowest = {module.layer, group};
    }
  }
  return lowest;
}

void Activations::prepare(const LlamaConfig& config, const Adapter& adapter, int64_t tokens, bool dropout) {
  lowest_ = lowest_module(adapter);
  const int kept = config.layers - lowest_.layer;
  const int64_t widest = std::max({config.hidden, config.intermediate, config.q_width()});

  const auto lay_out = [&](Arena arena) {
    rows_.assign(static_cast<size_t>(kept), LayerRows{});
    lse_.assign(static_cast<size_t>(kept), nullptr);
    float* normed = arena.take(config.hidden);
    float* activated = arena.take(config.intermediate);
    float* dropped = dropout ? arena.take(widest) : nullptr;
    float* hidden = arena.take(config.hidden);
    for (int i = 0; i < kept; ++i) {
      LayerRows& rows = rows_[static_cast<size_t>(i)];
      rows.input = hidden;
      rows.middle = arena.take(config.hidden);
      rows.output = hidden = arena.take(config.hidden);
      rows.qkv = arena.take(config.qkv_width());
      rows.attention = arena.take(config.q_width());
      rows.gate_up = arena.take(2 * config.intermediate);
      rows.inverse_rms1 = arena.take(1);
      rows.inverse_rms2 = arena.take(1);
      for (int group = 0; group < group_count; ++group) {
        rows.u[group] = arena.take(adapter.group(lowest_.layer + i, static_cast<LinearGroup>(group)).rank);
      }
      rows.normed = normed;
      rows.activated = activated;
      rows.dropped = dropped;
      lse_[static_cast<size_t>(i)] = arena.take(config.heads);
    }
    backward_ = {arena.take(config.hidden),    arena.take(config.hidden),    arena.take(config.intermediate),
                 arena.take(config.q_width()), arena.take(config.qkv_width()), arena.take(adapter.largest_rank())};
    return arena.used();
  };

  const int64_t floats = lay_out(Arena(nullptr, tokens));
  if (floats > INT64_MAX / 4) throw std::bad_alloc();
  const int64_t bytes = floats * 4;
  if (bytes > static_cast<int64_t>(arena_.bytes())) {
    require_memory(bytes - static_cast<int64_t>(arena_.bytes()),
                   "training on a micro-batch of " + std::to_string(tokens) + " tokens");
  }
  lay_out(Arena(arena_.reserve(floats, 1), tokens));
}

LayerRows Activations::layer(int layer) const {
  if (layer >= lowest_.layer) return rows_[static_cast<size_t>(layer - lowest_.layer)];
  LayerRows rows = rows_.front();
  rows.middle = rows.output = rows.input;
  return rows;
}

float* Activations::lse(int layer) const { return lse_[static_cast<size_t>(std::max(0, layer - lowest_.layer))]; }

}  // namespace llama

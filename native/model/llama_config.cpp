#include "llama_config.h"

#include <cmath>
#include <string>

#include "engine_error.h"

namespace llama {

const char* name_of(Linear linear) {
  static constexpr const char* names[linear_count] = {"q_proj",    "k_proj",  "v_proj",   "o_proj",
                                                      "gate_proj", "up_proj", "down_proj"};
  return names[static_cast<int>(linear)];
}

LinearGroup group_of(Linear linear) {
  switch (linear) {
    case Linear::q:
    case Linear::k:
    case Linear::v:
      return LinearGroup::qkv;
    case Linear::o:
      return LinearGroup::o;
    case Linear::gate:
    case Linear::up:
      return LinearGroup::gate_up;
    default:
      return LinearGroup::down;
  }
}

int64_t LlamaConfig::rows(Linear linear) const {
  switch (linear) {
    case Linear::q:
      return q_width();
    case Linear::k:
    case Linear::v:
      return kv_width();
    case Linear::gate:
    case Linear::up:
      return intermediate;
    default:
      return hidden;
  }
}

int64_t LlamaConfig::cols(Linear linear) const { return cols(group_of(linear)); }

int64_t LlamaConfig::cols(LinearGroup group) const {
  if (group == LinearGroup::o) return q_width();
  return group == LinearGroup::down ? intermediate : hidden;
}

int64_t LlamaConfig::column(Linear linear) const {
  switch (linear) {
    case Linear::k:
      return q_width();
    case Linear::v:
      return q_width() + kv_width();
    case Linear::up:
      return intermediate;
    default:
      return 0;
  }
}

namespace {

void require_range(const char* field, int64_t value, int64_t limit) {
  if (value < 1 || value > limit) {
    throw EngineError("ENGINE_ARGUMENT", std::string("config.") + field + " is " + std::to_string(value) +
                                             ", allowed are 1 to " + std::to_string(limit));
  }
}

}  // namespace

void LlamaConfig::validate() const {
  require_range("vocabSize", vocab, 1 << 24);
  require_range("hiddenSize", hidden, 1 << 20);
  require_range("intermediateSize", intermediate, 1 << 22);
  require_range("layers", layers, 4096);
  require_range("heads", heads, 4096);
  require_range("kvHeads", kv_heads, heads);
  require_range("headDim", head_dim, 1024);
  require_range("maxPositionEmbeddings", max_positions, 1 << 24);
  if (window != 0) require_range("slidingWindow", window, INT32_MAX);
  if (heads % kv_heads != 0) throw EngineError("ENGINE_ARGUMENT", "config.heads is not a multiple of config.kvHeads");
  if (head_dim % 2 != 0) throw EngineError("ENGINE_ARGUMENT", "config.headDim is odd");
  if (inverse_frequencies.size() != static_cast<size_t>(head_dim / 2)) {
    throw EngineError("ENGINE_ARGUMENT", "config.rope.inverseFrequencies has " +
                                             std::to_string(inverse_frequencies.size()) + " elements, not headDim / 2");
  }
  if (!std::isfinite(attention_scaling) || !std::isfinite(rms_norm_eps) || rms_norm_eps < 0) {
    throw EngineError("ENGINE_ARGUMENT", "config.rmsNormEps or config.rope.attentionScaling is not possible");
  }
}

}  // namespace llama

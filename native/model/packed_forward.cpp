#include "packed_forward.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "available_memory.h"
#include "engine_error.h"

namespace llama {

std::vector<int32_t> PackedBatch::positions() const {
  std::vector<int32_t> result(tokens.size());
  for (int64_t row = 0; row < row_count(); ++row) {
    const auto index = static_cast<size_t>(row);
    std::iota(result.begin() + offsets[index], result.begin() + offsets[index + 1], 0);
  }
  return result;
}

int64_t PackedBatch::longest_row() const {
  int64_t longest = 0;
  for (size_t row = 0; row + 1 < offsets.size(); ++row) {
    longest = std::max<int64_t>(longest, offsets[row + 1] - offsets[row]);
  }
  return longest;
}

int64_t PackedBatch::target_count() const {
  return std::count_if(targets.begin(), targets.end(), [](int32_t target) { return target >= 0; });
}

void PackedBatch::check(const Model& model) const {
  const auto fail = [](const std::string& message) { throw EngineError("ENGINE_ARGUMENT", "batch: " + message); };
  if (tokens.empty()) fail("there are no tokens");
  if (tokens.size() > (1u << 26)) fail("there are more than 2^26 tokens");
  if (offsets.size() < 2 || offsets.front() != 0 || offsets.back() != static_cast<int64_t>(tokens.size())) {
    fail("offsets do not run from 0 to the number of tokens");
  }
  if (!std::is_sorted(offsets.begin(), offsets.end())) fail("offsets decrease");
  if (longest_row() > model.config.max_positions) {
    fail("a row has " + std::to_string(longest_row()) + " tokens, the model has " +
         std::to_string(model.config.max_positions) + " positions");
  }
  model.check_tokens(tokens.data(), token_count());
  if (!targets.empty() && targets.size() != tokens.size()) fail("targets and tokens differ in length");
  for (const int32_t target : targets) {
    if (target != -100 && (target < 0 || target >= model.config.vocab)) {
      fail("target " + std::to_string(target) + " is neither -100 nor in the vocabulary");
    }
  }
}

const float* packed_forward(Model& model, const PackedBatch& batch, const Adapter* adapter, PackedBuffers& buffers) {
  const LlamaConfig& config = model.config;
  const int64_t tokens = batch.token_count(), qkv_width = config.qkv_width();
  float* h = buffers.h.reserve(tokens, config.hidden);
  float* u = buffers.u.reserve(tokens, adapter ? adapter->largest_rank() : 0);
  float* lse = buffers.lse.reserve(tokens, config.heads);
  LayerRows rows{};
  rows.input = rows.middle = rows.output = h;
  rows.qkv = buffers.qkv.reserve(tokens, qkv_width);
  rows.attention = buffers.attention.reserve(tokens, config.q_width());
  rows.gate_up = buffers.gate_up.reserve(tokens, 2 * config.intermediate);
  rows.normed = buffers.normed.reserve(tokens, config.hidden);
  rows.activated = buffers.activated.reserve(tokens, config.intermediate);
  std::fill_n(rows.u, group_count, u);

  const std::vector<int32_t> positions = batch.positions();
  const float* cos_sin = model.rope.up_to(batch.longest_row());
  std::vector<AdapterRows> adapters;
  if (adapter) adapters.push_back({adapter, 0, tokens});
  model.ops->embed(model.weights.embedding, batch.tokens.data(), tokens, h, config.hidden);
  for (int layer = 0; layer < config.layers; ++layer) {
    layer_forward(model, layer, rows, tokens, positions.data(), cos_sin, adapters, Dropout{},
                  [&](const float* qkv, float* attention) {
                    model.ops->attention_packed(model.attention_shape(), batch.offsets.data(), batch.row_count(), qkv,
                                                qkv_width, qkv + config.q_width(),
                                                qkv + config.q_width() + config.kv_width(), qkv_width, attention,
                                                config.q_width(), lse);
                  });
  }
  return h;
}

std::vector<float> packed_logits(Model& model, const PackedBatch& batch, const Adapter* adapter) {
  batch.check(model);
  const int64_t tokens = batch.token_count(), vocab = model.config.vocab;
  require_memory(tokens * vocab * int64_t{sizeof(float)}, "logits of " + std::to_string(tokens) + " positions");
  PackedBuffers buffers;
  const float* h = packed_forward(model, batch, adapter, buffers);
  std::vector<float> logits(static_cast<size_t>(tokens * vocab));
  std::vector<int64_t> rows(static_cast<size_t>(tokens));
  std::iota(rows.begin(), rows.end(), 0);
  head_logits(model, h, rows, logits.data(), buffers.head);
  return logits;
}

}  // namespace llama

// Forward over whole rows without a cache and without keeping anything for a backward pass: evaluation and checks.
#pragma once
#include <cstdint>
#include <vector>

#include "float_buffer.h"
#include "head.h"
#include "layer.h"

namespace llama {

// Rows packed one after another; attention is causal inside a row and does not cross its border.
struct PackedBatch {
  std::vector<int32_t> tokens;
  std::vector<int32_t> targets;  // [tokens] or empty; -100: none
  std::vector<int32_t> offsets;  // [rows + 1]

  int64_t token_count() const { return static_cast<int64_t>(tokens.size()); }
  int64_t row_count() const { return static_cast<int64_t>(offsets.size()) - 1; }
  // Positions restart at 0 in every row.
  std::vector<int32_t> positions() const;
  int64_t longest_row() const;
  int64_t target_count() const;
  // Throws EngineError ENGINE_ARGUMENT.
  void check(const Model& model) const;
};

struct PackedBuffers {
  FloatBuffer h, qkv, attention, lse, gate_up, u, normed, activated;
  HeadBuffers head;
};

// The last layer's output [tokens, hidden], in buffers.h.
const float* packed_forward(Model& model, const PackedBatch& batch, const Adapter* adapter, PackedBuffers& buffers);

// [tokens, vocab]
std::vector<float> packed_logits(Model& model, const PackedBatch& batch, const Adapter* adapter);

}  // namespace llama

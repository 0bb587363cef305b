// Rows packed one after another (host); attention is causal inside a row and does not cross its border.
#pragma once
#include <cstdint>
#include <vector>

#include "llama_config.h"

namespace llama {

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
  // Tokens and offsets; with `labelled` targets as well. The only check of a batch: indices of memory are made of it. Throws
  // EngineError ENGINE_ARGUMENT naming the row or element.
  void check(const LlamaConfig& config, bool labelled) const;
};

// Throws EngineError ENGINE_ARGUMENT naming the first token that is outside the vocabulary.
void check_tokens(const LlamaConfig& config, const std::vector<int32_t>& tokens);

}  // namespace llama

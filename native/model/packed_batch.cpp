#include "packed_batch.h"

#include <algorithm>
#include <numeric>
#include <string>

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

void PackedBatch::check(const LlamaConfig& config, bool labelled) const {
  const auto fail = [](const std::string& message) { throw EngineError("ENGINE_ARGUMENT", "batch: " + message); };
  if (tokens.empty()) fail("there are no tokens");
  if (tokens.size() > (1u << 26)) fail("there are more than 2^26 tokens");
  if (offsets.size() < 2 || offsets.front() != 0 || offsets.back() != static_cast<int64_t>(tokens.size())) {
    fail("offsets do not run from 0 to the number of tokens");
  }
  if (!std::is_sorted(offsets.begin(), offsets.end())) fail("offsets decrease");
  for (size_t row = 0; row + 1 < offsets.size(); ++row) {
    const int64_t length = offsets[row + 1] - offsets[row];
    if (length > config.max_positions) {
      fail("row " + std::to_string(row) + " has " + std::to_string(length) + " tokens, the model has " +
           std::to_string(config.max_positions) + " positions");
    }
  }
  check_tokens(config, tokens);
  if (!labelled) return;
  if (targets.size() != tokens.size()) fail("targets and tokens differ in length");
  for (size_t i = 0; i < targets.size(); ++i) {
    if (targets[i] != -100 && (targets[i] < 0 || targets[i] >= config.vocab)) {
      fail("target " + std::to_string(i) + " is " + std::to_string(targets[i]) +
           ", neither -100 nor in the vocabulary of " + std::to_string(config.vocab));
    }
  }
}

void check_tokens(const LlamaConfig& config, const std::vector<int32_t>& tokens) {
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < 0 || tokens[i] >= config.vocab) {
      throw EngineError("ENGINE_ARGUMENT", "token " + std::to_string(i) + " is " + std::to_string(tokens[i]) +
                                               ", the vocabulary has " + std::to_string(config.vocab));
    }
  }
}

}  // namespace llama

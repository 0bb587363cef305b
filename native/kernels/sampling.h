// Choosing the next token, in the order of Hugging Face's processors. Twin of src/engine/sampling.ts: scores are
// float32 after each processor, probabilities are float64 summed in the order of ids, so both choose the same token.
#pragma once
#include <cstdint>
#include <vector>

namespace llama {

// Below it a quotient of ordinary logits is not finite in float32; what is colder is greedy, which is its limit.
constexpr float coldest_temperature = 1e-5f;

struct Sampling {
  float temperature = 0;  // 0: greedy
  double top_p = 1;
  int64_t top_k = 0;  // 0: off
  float repetition_penalty = 1;
  uint64_t seed = 0;
  uint64_t index = 0;
  std::vector<int32_t> forbidden;

  bool operator==(const Sampling&) const = default;
};

// logits [vocab] are overwritten. -1 when a score is infinite or not a number (weights or adapter overflow),
// or when every token is forbidden.
int32_t sample(float* logits, int64_t vocab, const std::vector<int32_t>& history, const Sampling& sampling);

}  // namespace llama

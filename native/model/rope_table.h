// cos and sin of every position's angles: position * inverse frequency, rounded to float32 as Hugging Face does.
#pragma once
#include <cstdint>
#include <vector>

namespace llama {

class RopeTable {
 public:
  RopeTable(std::vector<float> inverse_frequencies, float attention_scaling);

  // [positions or more][head_dim / 2][cos, sin]; valid until the next call.
  const float* up_to(int64_t positions);

 private:
  std::vector<float> inverse_frequencies_;
  float attention_scaling_;
  std::vector<float> table_;
};

}  // namespace llama

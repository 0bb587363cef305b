// cos and sin of every position's angles: position * inverse frequency, rounded to float32 as Hugging Face does.
#pragma once
#include <cstdint>
#include <vector>

#include "buffer.h"

namespace llama {

class RopeTable {
 public:
  RopeTable(std::vector<float> inverse_frequencies, float attention_scaling);

  // [positions or more][head_dim / 2][cos, sin] in the device's memory; valid until a call asks for more positions than
  // any before it.
  const float* up_to(Device& device, int64_t positions);

 private:
  std::vector<float> inverse_frequencies_;
  float attention_scaling_;
  std::vector<float> table_;
  Buffer<float> held_;
};

}  // namespace llama

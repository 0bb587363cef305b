// What activations are made of: float on the CPU; on a GPU also 16 bits, as bit patterns (arithmetic is float32 everywhere).
#pragma once
#include <cstdint>

namespace llama {

struct Bf16 {
  uint16_t bits;
};
struct Half {  // IEEE 754 binary16
  uint16_t bits;
};

}  // namespace llama

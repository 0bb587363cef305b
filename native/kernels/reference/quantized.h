// The meaning of quantised weights (quantization.h), in plain C++: what other implementations give bit for bit.
#pragma once
#include <cstdint>
#include <vector>

#include "../quantization.h"

namespace llama::reference {

struct QuantizedMatrix {
  Quantization kind = Quantization::none;
  int64_t rows = 0, cols = 0;
  std::vector<uint8_t> codes;          // int8 [rows, cols] signed; int4, nf4 [(rows cols + 1) / 2]
  std::vector<float> scales;           // int8 [rows]; int4, nf4 [blocks]; empty where doubly quantised
  std::vector<uint8_t> scale_codes;    // [blocks] where doubly quantised
  std::vector<float> nested_scales;    // [blocks / 256, rounded up]
  float scale_offset = 0;
};

// weights [rows, cols]. Only int4 and nf4 have scales to quantise doubly.
QuantizedMatrix quantize(const float* weights, int64_t rows, int64_t cols, Quantization kind, bool double_quantized);
void dequantize(const QuantizedMatrix& matrix, float* weights);

}  // namespace llama::reference

// A quantised matrix in device memory (quantization.h says what its codes mean).
#pragma once
#include "../quantization.h"
#include "device.h"

namespace llama::cuda {

// codes lie on a multiple of 16 bytes.
struct QuantizedView {
  Quantization kind = Quantization::none;
  int64_t rows = 0, cols = 0;
  uint8_t* codes = nullptr;         // int8 [rows, cols] signed; int4, nf4 [(rows cols + 1) / 2]
  float* scales = nullptr;          // int8 [rows]; int4, nf4 [blocks]; null where doubly quantised
  uint8_t* scale_codes = nullptr;   // [blocks]
  float* nested_scales = nullptr;   // [blocks / 256, rounded up]
  float* scale_offset = nullptr;    // [1]

  bool double_quantized() const { return scale_codes != nullptr; }
  int64_t blocks() const { return (rows * cols + weights_per_scale - 1) / weights_per_scale; }
};

// Where the parts of a quantised matrix lie in one piece of memory, each on a multiple of 256 bytes.
struct QuantizedLayout {
  size_t codes, scales, scale_codes, nested_scales, scale_offset, bytes;
};

inline QuantizedLayout quantized_layout(Quantization kind, bool double_quantized, int64_t rows, int64_t cols) {
  QuantizedLayout layout{};
  const auto place = [&](size_t bytes) {
    const size_t at = layout.bytes;
    layout.bytes = (at + bytes + 255) / 256 * 256;
    return at;
  };
  const auto count = static_cast<size_t>(rows) * static_cast<size_t>(cols);
  const size_t blocks = (count + weights_per_scale - 1) / weights_per_scale;
  if (kind == Quantization::int8) {
    layout.codes = place(count);
    layout.scales = place(static_cast<size_t>(rows) * sizeof(float));
    return layout;
  }
  layout.codes = place((count + 1) / 2);
  if (!double_quantized) {
    layout.scales = place(blocks * sizeof(float));
    return layout;
  }
  layout.scale_codes = place(blocks);
  layout.nested_scales = place((blocks + scales_per_nested - 1) / scales_per_nested * sizeof(float));
  layout.scale_offset = place(sizeof(float));
  return layout;
}

// memory: quantized_layout(...).bytes of device memory, aligned as cudaMalloc aligns. Only int4 and nf4 can be doubly quantised.
inline QuantizedView quantized_in(void* memory, Quantization kind, bool double_quantized, int64_t rows, int64_t cols) {
  const QuantizedLayout layout = quantized_layout(kind, double_quantized, rows, cols);
  auto* base = static_cast<unsigned char*>(memory);
  QuantizedView view;
  view.kind = kind;
  view.rows = rows;
  view.cols = cols;
  view.codes = base + layout.codes;
  if (kind == Quantization::int8 || !double_quantized) {
    view.scales = reinterpret_cast<float*>(base + layout.scales);
  } else {
    view.scale_codes = base + layout.scale_codes;
    view.nested_scales = reinterpret_cast<float*>(base + layout.nested_scales);
    view.scale_offset = reinterpret_cast<float*>(base + layout.scale_offset);
  }
  return view;
}

// ---- on the device

namespace {
__device__ const Codebook<16> device_nf4 = nf4_codebook;
__device__ const Codebook<256> device_dynamic = dynamic_codebook;
__device__ const Codebook<255> device_dynamic_midpoints = dynamic_midpoints;
}  // namespace

__device__ inline float value_of(Quantization kind, int code) {
  return kind == Quantization::nf4 ? device_nf4.at[code] : static_cast<float>(code - 8);
}

// The scale of a block from its code; the product is rounded before the sum, which keeps the reference's bits.
__device__ inline float nested_scale(uint8_t code, float nested, float offset) {
#if defined(__CUDA_ARCH__)
  return __fmul_rn(device_dynamic.at[code], nested) + offset;
#else
  return static_cast<float>(static_cast<double>(device_dynamic.at[code]) * nested) + offset;
#endif
}

__device__ inline float scale_of(const QuantizedView& matrix, int64_t block) {
  if (matrix.scales != nullptr) return matrix.scales[block];
  return nested_scale(matrix.scale_codes[block], matrix.nested_scales[block / scales_per_nested], *matrix.scale_offset);
}

// Any element, slowly.
__device__ inline float weight_at(const QuantizedView& matrix, int64_t row, int64_t col) {
  const int64_t element = row * matrix.cols + col;
  if (matrix.kind == Quantization::int8) return static_cast<float>(static_cast<int8_t>(matrix.codes[element])) * matrix.scales[row];
  const int byte = matrix.codes[element / 2];
  return value_of(matrix.kind, element % 2 == 0 ? byte >> 4 : byte & 15) * scale_of(matrix, element / weights_per_scale);
}

}  // namespace llama::cuda

// Frozen weights as float32 numbers, for products without tensor cores: what a lane loads of a row at once, eight at a time.
#pragma once
#include "decode_linear.h"
#include "stream.h"

namespace llama::cuda {

// cols is a multiple of `each`, and rows start on multiples of 16 bytes.
struct FloatPacks {
  static constexpr int each = 8;
  const float* values;

  struct Row {
    Pack<uint32_t, 4> packs[2];
  };
  __device__ Row load(int64_t start, int64_t k) const {
    const float* from = values + start + k;
    return {{stream_words<4>(from), stream_words<4>(from + 4)}};
  }
  __device__ void group(const Row& row, int, const float*, float (&weights)[group_width]) const {
#pragma unroll
    for (int i = 0; i < group_width; ++i) weights[i] = __uint_as_float(row.packs[i / 4].at[i % 4]);
  }
  __device__ float row_scale(int64_t) const { return 1.0f; }
  __device__ float code_value(int) const { return 0.0f; }
};

struct Int8Packs {
  static constexpr int each = 16;
  QuantizedView matrix;

  struct Row {
    Pack<uint32_t, 4> codes;
  };
  __device__ Row load(int64_t start, int64_t k) const { return {stream_words<4>(matrix.codes + start + k)}; }
  __device__ void group(const Row& row, int index, const float*, float (&weights)[group_width]) const {
#pragma unroll
    for (int i = 0; i < group_width; ++i) weights[i] = static_cast<float>(static_cast<int8_t>(row.codes.at[index * 2 + i / 4] >> (8 * (i % 4)) & 0xff));
  }
  __device__ float row_scale(int64_t row) const { return matrix.scales[row]; }
  __device__ float code_value(int) const { return 0.0f; }
};

// int4 and NF4; cols is a multiple of 64.
struct FourBitPacks {
  static constexpr int each = 16;
  QuantizedView matrix;

  struct Row {
    Pack<uint32_t, 2> codes;
    float scale;
  };
  __device__ Row load(int64_t start, int64_t k) const {
    const int64_t first = start + k;
    return {stream_words<2>(matrix.codes + first / 2), scale_of(matrix, first / weights_per_scale)};
  }
  // table: the sixteen codes' values in shared memory, each in a bank of its own.
  __device__ void group(const Row& row, int index, const float* table, float (&weights)[group_width]) const {
    // The even element lies in the high half of its byte.
#pragma unroll
    for (int i = 0; i < group_width; ++i) weights[i] = table[row.codes.at[index] >> (4 * (i ^ 1)) & 15] * row.scale;
  }
  __device__ float row_scale(int64_t) const { return 1.0f; }
  __device__ float code_value(int code) const { return value_of(matrix.kind, code); }
};

// Any element of any matrix, slowly.
__device__ inline float weight_at(const WeightView& w, int64_t row, int64_t col) {
  if (w.quantized.kind != Quantization::none) return weight_at(w.quantized, row, col);
  const int64_t element = row * w.cols + col;
  if (w.type == StorageType::f32) return static_cast<const float*>(w.values)[element];
  if (w.type == StorageType::f16) return to_float(static_cast<const Half*>(w.values)[element]);
  return to_float(static_cast<const Bf16*>(w.values)[element]);
}

}  // namespace llama::cuda

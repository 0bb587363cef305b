// The rows that a product of few tokens takes: as they are, or made on the way from what lies before the product (an RMSNorm
// of the residual stream, silu(gate) * up).
#pragma once
#include "groups.h"

namespace llama::cuda {

constexpr int most_decode_tokens = 8;

enum class Prologue { none, rms_norm, swiglu };

template <class T>
struct DecodeInput {
  Prologue prologue = Prologue::none;
  const T* x = nullptr;  // the rows; of swiglu the gate
  const T* up = nullptr;
  const float* residual = nullptr;
  const float* norm = nullptr;
  float eps = 0;
  int64_t ld = 0;
  T* made = nullptr;  // rows that were made are kept here, unless null
  int64_t ld_made = 0;
  float* inverse_rms = nullptr;  // [tokens], unless null
  bool packed = false;           // set by the launch: groups of eight can be loaded and stored in packs

  static DecodeInput plain(const T* x, int64_t ldx) {
    DecodeInput input;
    input.x = x;
    input.ld = ldx;
    return input;
  }
  static DecodeInput rms_norm(const float* x, int64_t ldx, const float* norm, float eps, T* normed, int64_t ldn, float* inverse_rms) {
    DecodeInput input;
    input.prologue = Prologue::rms_norm;
    input.residual = x;
    input.ld = ldx;
    input.norm = norm;
    input.eps = eps;
    input.made = normed;
    input.ld_made = ldn;
    input.inverse_rms = inverse_rms;
    return input;
  }
  static DecodeInput swiglu(const T* gate, const T* up, int64_t ld, T* h, int64_t ldh) {
    DecodeInput input;
    input.prologue = Prologue::swiglu;
    input.x = gate;
    input.up = up;
    input.ld = ld;
    input.made = h;
    input.ld_made = ldh;
    return input;
  }

  bool packable() const {
    const bool kept = made == nullptr || groups_packable(made, ld_made);
    if (prologue == Prologue::none) return groups_packable(x, ld);
    if (prologue == Prologue::swiglu) return kept && groups_packable(x, ld) && groups_packable(up, ld);
    return kept && groups_packable(residual, ld) && groups_packable(norm, group_width);
  }
};

// Elements [k, k + 8) of a token's row as float32 numbers that T holds, zeros from cols on. inverse: of an RMSNorm.
template <class T>
__device__ inline void input_group(const DecodeInput<T>& input, int64_t cols, int64_t token, int64_t k, float inverse,
                                   float (&values)[group_width]) {
  const int64_t at = token * input.ld + k, count = cols - k;
  if (input.prologue == Prologue::none) {
    load_group(input.x + at, count, input.packed, values);
    return;
  }
  float other[group_width];
  if (input.prologue == Prologue::rms_norm) {
    load_group(input.residual + at, count, input.packed, values);
    load_group(input.norm + k, count, input.packed, other);
    for (int i = 0; i < group_width; ++i) values[i] = values[i] * inverse * other[i];
  } else {
    load_group(input.x + at, count, input.packed, values);
    load_group(input.up + at, count, input.packed, other);
    for (int i = 0; i < group_width; ++i) values[i] = values[i] / (1.0f + expf(-values[i])) * other[i];
  }
  for (int i = 0; i < group_width; ++i) values[i] = to_float(from_float<T>(values[i]));
}

// Keeps what input_group gave.
template <class T>
__device__ inline void keep_group(const DecodeInput<T>& input, int64_t cols, int64_t token, int64_t k,
                                  const float (&values)[group_width]) {
  store_group(input.made + token * input.ld_made + k, cols - k, input.packed, values);
}

// 1 / sqrt(mean(x²) + eps) of every token by the whole block, the same bits in every block. inverse [8] and scratch
// [warps * 8] are shared memory; scratch is free again afterwards. Only a block that `keeps` writes input.inverse_rms.
template <class T>
__device__ inline void find_inverse_rms(const DecodeInput<T>& input, int64_t cols, int tokens, bool keeps, float* scratch,
                                        float* inverse) {
  const int lane = static_cast<int>(threadIdx.x) % warp_size, warp = static_cast<int>(threadIdx.x) / warp_size;
  const int warps = static_cast<int>(blockDim.x) / warp_size;
  for (int token = 0; token < tokens; ++token) {
    float squares = 0.0f;
    for (int64_t k = static_cast<int64_t>(threadIdx.x) * group_width; k < cols; k += static_cast<int64_t>(blockDim.x) * group_width) {
      float values[group_width];
      load_group(input.residual + token * input.ld + k, cols - k, input.packed, values);
      for (const float value : values) squares += value * value;
    }
    squares = warp_sum(squares);
    if (lane == 0) scratch[warp * most_decode_tokens + token] = squares;
  }
  __syncthreads();
  if (static_cast<int>(threadIdx.x) < tokens) {
    float squares = 0.0f;
    for (int i = 0; i < warps; ++i) squares += scratch[i * most_decode_tokens + static_cast<int>(threadIdx.x)];
    const float result = rsqrtf(squares / static_cast<float>(cols) + input.eps);
    inverse[threadIdx.x] = result;
    if (keeps && input.inverse_rms != nullptr) input.inverse_rms[threadIdx.x] = result;
  }
  __syncthreads();
}

}  // namespace llama::cuda

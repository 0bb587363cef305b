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
  bool packed = false;           // set by the launch: rows are whole groups of eight, loaded and stored in packs

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

  bool packable(int64_t cols) const {
    if (cols % group_width != 0) return false;
    const bool kept = made == nullptr || groups_packable(made, ld_made);
    if (prologue == Prologue::none) return groups_packable(x, ld);
    if (prologue == Prologue::swiglu) return kept && groups_packable(x, ld) && groups_packable(up, ld);
    return kept && groups_packable(residual, ld) && groups_packable(norm, group_width);
  }
};

// What elements [k, k + 8) of a token's row are made of, zeros from cols on.
struct InputGroup {
  float first[group_width], second[group_width];
};

template <class T>
__device__ inline void load_input(const DecodeInput<T>& input, int64_t cols, int64_t token, int64_t k, bool packed, InputGroup& group) {
  const int64_t at = token * input.ld + k, count = cols - k;
  if (input.prologue == Prologue::rms_norm) {
    load_group(input.residual + at, count, packed, group.first);
    load_group(input.norm + k, count, packed, group.second);
  } else {
    load_group(input.x + at, count, packed, group.first);
    if (input.prologue == Prologue::swiglu) load_group(input.up + at, count, packed, group.second);
  }
}

// As float32 numbers that T holds. inverse: of an RMSNorm.
template <class T>
__device__ inline void make_input(const DecodeInput<T>& input, const InputGroup& group, float inverse, float (&values)[group_width]) {
#pragma unroll
  for (int i = 0; i < group_width; ++i) {
    float value = group.first[i];
    if (input.prologue == Prologue::rms_norm) value = value * inverse * group.second[i];
    if (input.prologue == Prologue::swiglu) value = value / (1.0f + expf(-value)) * group.second[i];
    values[i] = input.prologue == Prologue::none ? value : to_float(from_float<T>(value));
  }
}

template <class T>
__device__ inline void input_group(const DecodeInput<T>& input, int64_t cols, int64_t token, int64_t k, float inverse,
                                   float (&values)[group_width]) {
  InputGroup group;
  load_input(input, cols, token, k, input.packed, group);
  make_input(input, group, inverse, values);
}

// Keeps what was made.
template <class T>
__device__ inline void keep_group(const DecodeInput<T>& input, int64_t cols, int64_t token, int64_t k,
                                  const float (&values)[group_width]) {
  store_group(input.made + token * input.ld_made + k, cols - k, input.packed, values);
}

// Adds to squares[token] what this thread has of them. Four tokens are loaded before the first is needed.
template <bool packed, class T>
__device__ inline void add_squares(const DecodeInput<T>& input, int64_t cols, int tokens, float (&squares)[most_decode_tokens]) {
  constexpr int at_once = 4;
  for (int64_t k = static_cast<int64_t>(threadIdx.x) * group_width; k < cols; k += static_cast<int64_t>(blockDim.x) * group_width) {
#pragma unroll
    for (int first = 0; first < most_decode_tokens; first += at_once) {
      if (first >= tokens) break;
      float values[at_once][group_width] = {};
#pragma unroll
      for (int i = 0; i < at_once; ++i) {
        if (first + i < tokens) load_group(input.residual + (first + i) * input.ld + k, cols - k, packed, values[i]);
      }
#pragma unroll
      for (int i = 0; i < at_once; ++i) {
        for (const float value : values[i]) squares[first + i] += value * value;
      }
    }
  }
}

// 1 / sqrt(mean(x²) + eps) of every token by the whole block, the same bits in every block. inverse [8] and scratch
// [warps * 8] are shared memory; scratch is free again afterwards. Only a block that `keeps` writes input.inverse_rms.
template <class T>
__device__ inline void find_inverse_rms(const DecodeInput<T>& input, int64_t cols, int tokens, bool keeps, float* scratch,
                                        float* inverse) {
  const int lane = static_cast<int>(threadIdx.x) % warp_size, warp = static_cast<int>(threadIdx.x) / warp_size;
  const int warps = static_cast<int>(blockDim.x) / warp_size;
  float squares[most_decode_tokens] = {};
  if (input.packed) {
    add_squares<true>(input, cols, tokens, squares);
  } else {
    add_squares<false>(input, cols, tokens, squares);
  }
#pragma unroll
  for (int token = 0; token < most_decode_tokens; ++token) {
    if (token >= tokens) continue;
    const float sum = warp_sum(squares[token]);
    if (lane == 0) scratch[warp * most_decode_tokens + token] = sum;
  }
  __syncthreads();
  if (static_cast<int>(threadIdx.x) < tokens) {
    float sum = 0.0f;
    for (int i = 0; i < warps; ++i) sum += scratch[i * most_decode_tokens + static_cast<int>(threadIdx.x)];
    const float result = norm_factor(rsqrtf(sum / static_cast<float>(cols) + input.eps));
    inverse[threadIdx.x] = result;
    if (keeps && input.inverse_rms != nullptr) input.inverse_rms[threadIdx.x] = result;
  }
  __syncthreads();
}

}  // namespace llama::cuda

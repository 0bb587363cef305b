// A head of q, k or v as pairs (i, i + half), N of them at a time: what the kernels that rotate have in common.
#pragma once
#include "../ops.h"
#include "packs.h"

namespace llama::cuda {

// Whether the float32 operands of rows [heads * 2 * half] can be read in packs of up to 4 beside packs of n pairs.
inline bool packable(const Rotary& rotary, int half, int n) {
  const int most = n < 4 ? n : 4;
  const auto fits = [&](const float* values) { return values == nullptr || packable(values, half, half, most); };
  return packable(rotary.cos_sin, 2 * half, 2 * half, most) && fits(rotary.bias) && fits(rotary.q_norm) && fits(rotary.k_norm);
}

template <int N>
struct Pairs {
  float low[N], high[N];
};

// bias: of this head, or null.
template <int N, class T>
__device__ inline Pairs<N> load_pairs(const T* head, const float* bias, int half, int first) {
  Pairs<N> pairs;
  load_floats(head + first, pairs.low);
  load_floats(head + half + first, pairs.high);
  if (bias == nullptr) return pairs;
  float low[N], high[N];
  load_floats(bias + first, low);
  load_floats(bias + half + first, high);
  for (int i = 0; i < N; ++i) {
    pairs.low[i] += low[i];
    pairs.high[i] += high[i];
  }
  return pairs;
}

template <int N, class T>
__device__ inline void store_pairs(T* head, const Pairs<N>& pairs, int half, int first) {
  store_floats(head + first, pairs.low);
  store_floats(head + half + first, pairs.high);
}

template <int N>
__device__ inline void multiply_pairs(Pairs<N>& pairs, float factor, const float* weights, int half, int first) {
  const Pairs<N> w = load_pairs<N>(weights, nullptr, half, first);
  for (int i = 0; i < N; ++i) {
    pairs.low[i] = pairs.low[i] * factor * w.low[i];
    pairs.high[i] = pairs.high[i] * factor * w.high[i];
  }
}

// cos, sin, cos, sin ... of N pairs.
template <int N>
__device__ inline void load_turns(const Rotary& rotary, int position, int half, int first, float (&turns)[2 * N]) {
  const float* from = rotary.cos_sin + (int64_t{position} * half + first) * 2;
  if constexpr (N == 1) {
    turns[0] = from[0];
    turns[1] = from[1];
  } else {
    load_floats(from, turns);
  }
}

template <int N>
__device__ inline void turn_pairs(Pairs<N>& pairs, const float (&turns)[2 * N], float sign) {
  for (int i = 0; i < N; ++i) {
    const float a = pairs.low[i], b = pairs.high[i], cos = turns[2 * i], sin = sign * turns[2 * i + 1];
    pairs.low[i] = a * cos - b * sin;
    pairs.high[i] = b * cos + a * sin;
  }
}

template <class T, int N>
__device__ inline void require_finite(Pairs<N>& pairs) {
  for (int i = 0; i < N; ++i) {
    pairs.low[i] = finite_in<T>(pairs.low[i]);
    pairs.high[i] = finite_in<T>(pairs.high[i]);
  }
}

// The factor of a head's RMSNorm, on every lane of the warp that has the head.
template <int N, class T>
__device__ inline float head_factor(const T* head, const float* bias, float eps, int half, int lane) {
  float squares = 0;
  for (int first = lane * N; first < half; first += warp_size * N) {
    const Pairs<N> pairs = load_pairs<N>(head, bias, half, first);
    for (int i = 0; i < N; ++i) squares += pairs.low[i] * pairs.low[i] + pairs.high[i] * pairs.high[i];
  }
  return norm_factor(1.0f / sqrtf(warp_sum(squares) / static_cast<float>(2 * half) + eps));
}

}  // namespace llama::cuda

// One vector of float32 at the width this file's includer is compiled for, and the exponential.
#pragma once
#if defined(LLAMA_AVX512)
#include "vec_avx512.h"
#else
#include "vec_avx2.h"
#endif

namespace llama {
namespace {

#if defined(LLAMA_BF16_DOT)
constexpr bool kBf16Dot = true;  // products of bf16 weights take pairs of bf16 activations
#else
constexpr bool kBf16Dot = false;
#endif
constexpr int kPanel = 2 * kLanes;  // columns of a tile, rows of a weight panel

inline int64_t round_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

// e^x with a relative error under 2^-22 (Cephes' expf: x = n ln 2 + f, a polynomial in f); inputs are held to [-87, 88],
// so that results stay normal numbers. What is not a number stays so.
inline Vec exp(Vec x) {
  x = min(set1(88.0f), max(set1(-87.0f), x));
  const Vec n = round(mul(x, set1(1.44269504f)));
  Vec f = fma_negated(n, set1(0.693359375f), x);
  f = fma_negated(n, set1(-2.12194440e-4f), f);
  Vec p = set1(1.9875691500e-4f);
  p = fma(p, f, set1(1.3981999507e-3f));
  p = fma(p, f, set1(8.3334519073e-3f));
  p = fma(p, f, set1(4.1665795894e-2f));
  p = fma(p, f, set1(1.6666665459e-1f));
  p = fma(p, f, set1(5.0000001201e-1f));
  p = fma(mul(f, f), p, add(f, set1(1.0f)));
  return mul(p, power_of_two(n));
}

// x, or not a number where x is infinite.
inline Vec finite(Vec x) { return add(x, sub(x, x)); }

inline Vec sigmoid(Vec x) { return div(set1(1.0f), add(set1(1.0f), exp(sub(zero(), x)))); }

// Runs body(index, lanes) over [0, n) in whole vectors and one partial one.
template <class Body>
inline void for_lanes(int64_t n, Body body) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) body(i, kLanes);
  if (i < n) body(i, static_cast<int>(n - i));
}
inline Vec load_lanes(const float* p, int lanes) { return lanes == kLanes ? load(p) : load_first(p, lanes); }
inline void store_lanes(float* p, Vec v, int lanes) { lanes == kLanes ? store(p, v) : store_first(p, v, lanes); }

}  // namespace
}  // namespace llama

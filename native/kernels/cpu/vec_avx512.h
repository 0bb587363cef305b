// Sixteen float32 lanes in AVX-512 (F, BW, VL, DQ). Same names as vec_avx2.h.
#pragma once
#if defined(LLAMA_EMULATE_AVX512)
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include <simde/x86/f16c.h>

#include "../../test/emulated_avx512.h"
#else
#include <immintrin.h>
#endif

#include <cstdint>

namespace llama {
namespace {

using Vec = __m512;
constexpr int kLanes = 16;
constexpr int kTileRows = 12;  // 12 x 2 sums, 2 weights and 1 activation fill 27 of 32 registers
constexpr const char* kName = "avx512";

inline Vec zero() { return _mm512_setzero_ps(); }
inline Vec set1(float x) { return _mm512_set1_ps(x); }
inline Vec load(const float* p) { return _mm512_loadu_ps(p); }
inline void store(float* p, Vec v) { _mm512_storeu_ps(p, v); }
inline Vec add(Vec a, Vec b) { return _mm512_add_ps(a, b); }
inline Vec sub(Vec a, Vec b) { return _mm512_sub_ps(a, b); }
inline Vec mul(Vec a, Vec b) { return _mm512_mul_ps(a, b); }
inline Vec div(Vec a, Vec b) { return _mm512_div_ps(a, b); }
// Of max and min where one is not a number: b.
inline Vec max(Vec a, Vec b) { return _mm512_max_ps(a, b); }
inline Vec min(Vec a, Vec b) { return _mm512_min_ps(a, b); }
inline Vec sqrt(Vec a) { return _mm512_sqrt_ps(a); }
inline Vec fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }         // a b + c
inline Vec fma_negated(Vec a, Vec b, Vec c) { return _mm512_fnmadd_ps(a, b, c); }  // c - a b
inline Vec round(Vec a) { return _mm512_roundscale_ps(a, 0); }

// 2^n for whole n in [-126, 127].
inline Vec power_of_two(Vec n) {
  const __m512i exponent = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
  return _mm512_castsi512_ps(_mm512_slli_epi32(exponent, 23));
}

inline __mmask16 first_lanes(int n) { return static_cast<__mmask16>((1u << n) - 1); }
// The first n (0..16) lanes; the others are 0, and their memory is not touched.
inline Vec load_first(const float* p, int n) { return _mm512_maskz_loadu_ps(first_lanes(n), p); }
inline void store_first(float* p, Vec v, int n) { _mm512_mask_storeu_ps(p, first_lanes(n), v); }

inline float sum(Vec v) { return _mm512_reduce_add_ps(v); }
inline float largest(Vec v) { return _mm512_reduce_max_ps(v); }
// Sum of squares of the lanes, in double.
inline double sum_of_squares(Vec v) {
  alignas(64) float lanes[16];
  store(lanes, v);
  double total = 0;
  for (const float x : lanes) total += static_cast<double>(x) * x;
  return total;
}

inline Vec load_f16(const uint16_t* p) { return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
inline void store_f16(uint16_t* p, Vec v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}
inline Vec load_bf16(const uint16_t* p) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
// Rounds to nearest, ties to even; what is not a number stays so.
inline void store_bf16(uint16_t* p, Vec v) {
  const __m512i bits = _mm512_castps_si512(v), odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(_mm512_add_epi32(bits, odd), _mm512_set1_epi32(0x7fff)), 16);
  const __m512i halves = _mm512_mask_blend_epi32(_mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), rounded, _mm512_set1_epi32(0x7fc0));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(halves));
}

// Lanes that each hold two bf16: the lower (even) and the upper (odd) one.
inline Vec load_pairs(const uint16_t* p) { return load(reinterpret_cast<const float*>(p)); }
inline Vec even_of_pairs(Vec v) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(v), 16)); }
inline Vec odd_of_pairs(Vec v) {
  return _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(v), _mm512_set1_epi32(static_cast<int>(0xffff0000u))));
}
// Two vectors of exact bf16 values as pairs.
inline Vec join_pairs(Vec even, Vec odd) {
  const __m512i low = _mm512_srli_epi32(_mm512_castps_si512(even), 16);
  return _mm512_castsi512_ps(_mm512_or_si512(low, _mm512_castps_si512(odd)));
}
#if defined(LLAMA_BF16_DOT)
// c + a.even b.even + a.odd b.odd
inline Vec dot_pairs(Vec a, Vec b, Vec c) {
  return _mm512_dpbf16_ps(c, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
}
// 32 floats rounded to bf16, neighbours paired.
inline Vec round_pairs(Vec low, Vec high) { return reinterpret_cast<Vec>(_mm512_cvtne2ps_pbh(high, low)); }
#endif

// Sixteen 32-bit counters.
using Words = __m512i;
inline Words words(uint32_t x) { return _mm512_set1_epi32(static_cast<int>(x)); }
inline Words load_words(const uint32_t* p) { return _mm512_loadu_si512(p); }
inline void store_words(uint32_t* p, Words v) { _mm512_storeu_si512(p, v); }
inline Words exclusive_or(Words a, Words b) { return _mm512_xor_si512(a, b); }
// Upper and lower half of the 64-bit products a m.
inline void multiply_wide(Words a, uint32_t m, Words& high, Words& low) {
  const Words even = _mm512_mul_epu32(a, words(m)), odd = _mm512_mul_epu32(_mm512_srli_epi64(a, 32), words(m));
  low = _mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32));
  high = _mm512_mask_blend_epi32(0xAAAA, _mm512_srli_epi64(even, 32), odd);
}

inline void prefetch(const void* p) { __builtin_prefetch(p); }

// The 16 x 16 matrix in v becomes its transpose.
inline void transpose(Vec (&v)[kLanes]) {
  Vec a[16], b[16];
  for (int i = 0; i < 16; i += 2) {
    a[i] = _mm512_unpacklo_ps(v[i], v[i + 1]);
    a[i + 1] = _mm512_unpackhi_ps(v[i], v[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    for (int j = 0; j < 2; ++j) {
      b[i + 2 * j] = _mm512_shuffle_ps(a[i + j], a[i + j + 2], 0x44);
      b[i + 2 * j + 1] = _mm512_shuffle_ps(a[i + j], a[i + j + 2], 0xEE);
    }
  }
  // b[4 g + c] holds, in its four quarters, columns c, 4 + c, 8 + c and 12 + c of rows 4 g .. 4 g + 3.
  for (int c = 0; c < 4; ++c) {
    const Vec low01 = _mm512_shuffle_f32x4(b[c], b[4 + c], 0x44), high01 = _mm512_shuffle_f32x4(b[c], b[4 + c], 0xEE);
    const Vec low23 = _mm512_shuffle_f32x4(b[8 + c], b[12 + c], 0x44), high23 = _mm512_shuffle_f32x4(b[8 + c], b[12 + c], 0xEE);
    v[c] = _mm512_shuffle_f32x4(low01, low23, 0x88);
    v[4 + c] = _mm512_shuffle_f32x4(low01, low23, 0xDD);
    v[8 + c] = _mm512_shuffle_f32x4(high01, high23, 0x88);
    v[12 + c] = _mm512_shuffle_f32x4(high01, high23, 0xDD);
  }
}

}  // namespace
}  // namespace llama

// What SIMDe 0.7.4 lacks for running the AVX-512 kernels on a processor without AVX-512, written lane by lane from the
// instructions' description. Included only where LLAMA_EMULATE_AVX512 is defined.
#pragma once
#include <cstdint>
#include <cmath>
#include <cstring>

#include "../kernels/storage.h"

namespace emulated {

template <class To, class From>
To bits_as(const From& from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof(To));
  return to;
}

struct Lanes {
  float at[16];
};
struct Halves {
  uint16_t at[16];
};
struct Integers {
  int32_t at[16];
};

inline __m512i cvtps_epi32(__m512 v) {
  const auto from = bits_as<Lanes>(v);
  Integers to;
  for (int i = 0; i < 16; ++i) to.at[i] = static_cast<int32_t>(std::nearbyint(from.at[i]));
  return bits_as<__m512i>(to);
}
inline __m512 maskz_loadu_ps(uint16_t mask, const float* p) {
  Lanes to;
  for (int i = 0; i < 16; ++i) to.at[i] = (mask >> i) & 1 ? p[i] : 0.0f;
  return bits_as<__m512>(to);
}
inline void mask_storeu_ps(float* p, uint16_t mask, __m512 v) {
  const auto from = bits_as<Lanes>(v);
  for (int i = 0; i < 16; ++i) {
    if ((mask >> i) & 1) p[i] = from.at[i];
  }
}
inline float reduce_add_ps(__m512 v) {
  float total = 0;
  for (const float x : bits_as<Lanes>(v).at) total += x;
  return total;
}
inline float reduce_max_ps(__m512 v) {
  const auto from = bits_as<Lanes>(v);
  float most = from.at[0];
  for (const float x : from.at) most = x > most ? x : most;
  return most;
}
inline __m512 cvtph_ps(__m256i v) {
  const auto from = bits_as<Halves>(v);
  Lanes to;
  for (int i = 0; i < 16; ++i) to.at[i] = llama::f32_from_f16(from.at[i]);
  return bits_as<__m512>(to);
}
inline __m256i cvtps_ph(__m512 v) {
  const auto from = bits_as<Lanes>(v);
  Halves to;
  for (int i = 0; i < 16; ++i) to.at[i] = llama::f16_from_f32(from.at[i]);
  return bits_as<__m256i>(to);
}
inline __m512i cvtepu16_epi32(__m256i v) {
  const auto from = bits_as<Halves>(v);
  Integers to;
  for (int i = 0; i < 16; ++i) to.at[i] = from.at[i];
  return bits_as<__m512i>(to);
}
inline __m256i cvtepi32_epi16(__m512i v) {
  const auto from = bits_as<Integers>(v);
  Halves to;
  for (int i = 0; i < 16; ++i) to.at[i] = static_cast<uint16_t>(from.at[i]);
  return bits_as<__m256i>(to);
}
// Which lanes are not a number on either side: the only comparison that is used.
inline uint16_t unordered_mask(__m512 a, __m512 b) {
  const auto first = bits_as<Lanes>(a), second = bits_as<Lanes>(b);
  uint16_t mask = 0;
  for (int i = 0; i < 16; ++i) mask = static_cast<uint16_t>(mask | (std::isunordered(first.at[i], second.at[i]) ? 1 << i : 0));
  return mask;
}
// Two quarters of a, then two of b, each chosen by two bits.
inline __m512 shuffle_f32x4(__m512 a, __m512 b, int choice) {
  const auto first = bits_as<Lanes>(a), second = bits_as<Lanes>(b);
  Lanes to;
  for (int i = 0; i < 16; ++i) to.at[i] = (i < 8 ? first : second).at[((choice >> (i / 4 * 2)) & 3) * 4 + i % 4];
  return bits_as<__m512>(to);
}

}  // namespace emulated

#define __mmask16 uint16_t
#define _mm512_cvtps_epi32 emulated::cvtps_epi32
#define _mm512_maskz_loadu_ps emulated::maskz_loadu_ps
#define _mm512_mask_storeu_ps emulated::mask_storeu_ps
#define _mm512_reduce_add_ps emulated::reduce_add_ps
#define _mm512_reduce_max_ps emulated::reduce_max_ps
#define _mm512_cvtepu16_epi32 emulated::cvtepu16_epi32
#define _mm512_cvtepi32_epi16 emulated::cvtepi32_epi16
#define _mm512_cmp_ps_mask(a, b, unordered) emulated::unordered_mask(a, b)
#define _mm512_shuffle_f32x4 emulated::shuffle_f32x4
#define _mm512_cvtph_ps emulated::cvtph_ps
#define _mm512_cvtps_ph(v, rounding) emulated::cvtps_ph(v)

#if defined(LLAMA_BF16_DOT)
using EmulatedPairs = __m512;
#define __m512bh EmulatedPairs

// Products and sums of each pair one after the other, odd element first, rounded to nearest.
inline __m512 emulated_dpbf16(__m512 c, EmulatedPairs a, EmulatedPairs b) {
  uint32_t left[16], right[16];
  float sums[16];
  std::memcpy(left, &a, 64);
  std::memcpy(right, &b, 64);
  std::memcpy(sums, &c, 64);
  const auto as_float = [](uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
  };
  for (int i = 0; i < 16; ++i) {
    sums[i] += as_float(left[i] & 0xffff0000u) * as_float(right[i] & 0xffff0000u);
    sums[i] += as_float(left[i] << 16) * as_float(right[i] << 16);
  }
  std::memcpy(&c, sums, 64);
  return c;
}

// The lower 16 results come from the second operand.
inline EmulatedPairs emulated_cvtne2(__m512 high, __m512 low) {
  float values[32];
  uint16_t halves[32];
  std::memcpy(values, &low, 64);
  std::memcpy(values + 16, &high, 64);
  for (int i = 0; i < 32; ++i) halves[i] = llama::bf16_from_f32(values[i]);
  EmulatedPairs pairs;
  std::memcpy(&pairs, halves, 64);
  return pairs;
}

#undef _mm512_dpbf16_ps
#undef _mm512_cvtne2ps_pbh
#define _mm512_dpbf16_ps emulated_dpbf16
#define _mm512_cvtne2ps_pbh emulated_cvtne2
#endif

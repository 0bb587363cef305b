// What the SIMDe headers lack for running the AVX-512 kernels on a processor without AVX-512: the two bf16 instructions,
// written from their description. Included only where LLAMA_EMULATE_AVX512 is defined.
#pragma once
#include <cstdint>
#include <cstring>

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
  uint32_t values[32];
  uint16_t halves[32];
  std::memcpy(values, &low, 64);
  std::memcpy(values + 16, &high, 64);
  for (int i = 0; i < 32; ++i) halves[i] = static_cast<uint16_t>((values[i] + 0x7fff + ((values[i] >> 16) & 1)) >> 16);
  EmulatedPairs pairs;
  std::memcpy(&pairs, halves, 64);
  return pairs;
}

#undef _mm512_dpbf16_ps
#undef _mm512_cvtne2ps_pbh
#define _mm512_dpbf16_ps emulated_dpbf16
#define _mm512_cvtne2ps_pbh emulated_cvtne2
#endif

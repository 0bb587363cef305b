// Which activations dropout keeps: a pure function of (seed, step, module, element), so that the backward pass draws the
// same mask again instead of storing it, and any other program can reproduce it.
//
// Philox 4x32 with 10 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
//   element = row * cols + col                                     (64-bit)
//   key     = (seed & 0xffffffff, seed >> 32)
//   counter = (group & 0xffffffff, group >> 32, module, step)      where group = element / 4
//   x       = output word element % 4
//   u       = (x >> 8) * 2^-24                                     in [0, 1)
//   kept    iff u >= p; a kept value is multiplied by 1 / (1 - p)  (float32)
#pragma once
#include <array>
#include <cstdint>

namespace llama {

using PhiloxWords = std::array<uint32_t, 4>;

inline PhiloxWords philox_4x32_10(PhiloxWords counter, uint32_t key0, uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53u} * counter[0];
    const uint64_t b = uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key0, static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key1, static_cast<uint32_t>(a)};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}

inline PhiloxWords dropout_words(uint64_t group, uint64_t seed, uint32_t step, uint32_t module) {
  return philox_4x32_10({static_cast<uint32_t>(group), static_cast<uint32_t>(group >> 32), module, step},
                        static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
}

inline bool dropout_keeps(uint32_t word, float p) { return static_cast<float>(word >> 8) * 0x1p-24f >= p; }

}  // namespace llama

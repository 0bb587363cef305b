// Dropout with the generator of ../dropout.h, sixteen counters at a time in plain loops that the compiler vectorises.
#pragma once
#include "rows.h"

namespace llama {
namespace {

constexpr int kCounters = 16;

// Words of the groups [first, first + kCounters), in the order of their elements.
inline void dropout_block(uint64_t first, uint64_t seed, uint32_t step, uint32_t module, uint32_t* words) {
  uint32_t c0[kCounters], c1[kCounters], c2[kCounters], c3[kCounters];
  for (int i = 0; i < kCounters; ++i) {
    c0[i] = static_cast<uint32_t>(first + i);
    c1[i] = static_cast<uint32_t>((first + i) >> 32);
    c2[i] = module;
    c3[i] = step;
  }
  auto key0 = static_cast<uint32_t>(seed), key1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < kCounters; ++i) {
      const uint64_t a = uint64_t{0xD2511F53u} * c0[i], b = uint64_t{0xCD9E8D57u} * c2[i];
      c0[i] = static_cast<uint32_t>(b >> 32) ^ c1[i] ^ key0;
      c2[i] = static_cast<uint32_t>(a >> 32) ^ c3[i] ^ key1;
      c1[i] = static_cast<uint32_t>(b);
      c3[i] = static_cast<uint32_t>(a);
    }
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  for (int i = 0; i < kCounters; ++i) {
    words[4 * i] = c0[i];
    words[4 * i + 1] = c1[i];
    words[4 * i + 2] = c2[i];
    words[4 * i + 3] = c3[i];
  }
}

inline void dropout_rows(ThreadPool& pool, const float* x, int64_t ldx, float* y, int64_t ldy, int64_t rows, int64_t cols, float p, uint64_t seed, uint32_t step, uint32_t module) {
  const float scale = 1.0f / (1.0f - p);
  each_row(pool, rows, [&](int64_t row) {
    const float* from = x + row * ldx;
    float* to = y + row * ldy;
    uint32_t words[4 * kCounters];
    int64_t col = 0;
    while (col < cols) {
      const auto element = static_cast<uint64_t>(row * cols + col);
      const int skip = static_cast<int>(element % 4);  // a row need not start at a group's border
      dropout_block(element / 4, seed, step, module, words);
      const int64_t count = std::min<int64_t>(4 * kCounters - skip, cols - col);
      for (int64_t i = 0; i < count; ++i) {
        const float u = static_cast<float>(static_cast<int32_t>(words[skip + i] >> 8)) * 0x1p-24f;
        to[col + i] = u >= p ? from[col + i] * scale : 0.0f;
      }
      col += count;
    }
  });
}

}  // namespace
}  // namespace llama

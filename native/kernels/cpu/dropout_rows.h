// Dropout with the generator of ../dropout.h, one counter per lane.
#pragma once
#include "rows.h"

namespace llama {
namespace {

// Words of the groups [first, first + kLanes), in the order of their elements.
inline void dropout_block(uint64_t first, uint64_t seed, uint32_t step, uint32_t module, uint32_t* out) {
  uint32_t low[kLanes], high[kLanes];
  for (int i = 0; i < kLanes; ++i) {
    low[i] = static_cast<uint32_t>(first + i);
    high[i] = static_cast<uint32_t>((first + i) >> 32);
  }
  Words c0 = load_words(low), c1 = load_words(high), c2 = words(module), c3 = words(step);
  auto key0 = static_cast<uint32_t>(seed), key1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    Words a_high, a_low, b_high, b_low;
    multiply_wide(c0, 0xD2511F53u, a_high, a_low);
    multiply_wide(c2, 0xCD9E8D57u, b_high, b_low);
    c0 = exclusive_or(exclusive_or(b_high, c1), words(key0));
    c2 = exclusive_or(exclusive_or(a_high, c3), words(key1));
    c1 = b_low;
    c3 = a_low;
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  uint32_t lanes[4][kLanes];
  store_words(lanes[0], c0);
  store_words(lanes[1], c1);
  store_words(lanes[2], c2);
  store_words(lanes[3], c3);
  for (int i = 0; i < kLanes; ++i) {
    for (int j = 0; j < 4; ++j) out[4 * i + j] = lanes[j][i];
  }
}

inline void dropout_rows(ThreadPool& pool, const float* x, int64_t ldx, float* y, int64_t ldy, int64_t rows, int64_t cols, float p, uint64_t seed, uint32_t step, uint32_t module) {
  const float scale = 1.0f / (1.0f - p);
  each_row(pool, rows, [&](int64_t row) {
    const float* from = x + row * ldx;
    float* to = y + row * ldy;
    uint32_t drawn[4 * kLanes];
    int64_t col = 0;
    while (col < cols) {
      const auto element = static_cast<uint64_t>(row * cols + col);
      const int skip = static_cast<int>(element % 4);  // a row need not start at a group's border
      dropout_block(element / 4, seed, step, module, drawn);
      const int64_t count = std::min<int64_t>(4 * kLanes - skip, cols - col);
      for (int64_t i = 0; i < count; ++i) {
        const float u = static_cast<float>(static_cast<int32_t>(drawn[skip + i] >> 8)) * 0x1p-24f;
        to[col + i] = u >= p ? from[col + i] * scale : 0.0f;
      }
      col += count;
    }
  });
}

}  // namespace
}  // namespace llama

// Attention one block of keys at a time with a running softmax (Dao et al., "FlashAttention", 2022): scores never exceed a
// [rows, kKeys] tile. Blocks lie at multiples of kKeys of the sequence whatever the queries are, so a query's result is the
// same bits in a decode step, in a prefill, and beside any other queries.
#pragma once
#include <cmath>
#include <limits>

#include "../ops.h"
#include "product.h"

namespace llama {
namespace {

constexpr int kKeys = 64;
constexpr int kQueryRows = 96;  // rows (queries x heads of a group) worked on together

// Keys and values of one head.
class HeadKeys {
 public:
  // Keys [first, first + kKeys) as panels [kKeys / kPanel][head_dim][kPanel]; `count` of them exist.
  virtual const float* keys(int64_t first, int64_t count, float* scratch) const = 0;
  // Rows of values [first, first + count), readable for a whole number of panels of columns.
  virtual Block values(int64_t first, int64_t count, float* scratch) const = 0;

 protected:
  ~HeadKeys() = default;
};

// Columns of a score row that a query at position `own` attends to, within the block of keys starting at `first`.
struct KeyRange {
  int64_t begin, end;
};
inline KeyRange visible_keys(const AttentionShape& shape, int64_t own, int64_t first) {
  const int64_t oldest = shape.window > 0 ? std::max<int64_t>(0, own - shape.window + 1) : 0;
  return {std::clamp<int64_t>(oldest - first, 0, kKeys), std::clamp<int64_t>(own + 1 - first, 0, kKeys)};
}

inline size_t attention_scratch(int64_t rows, int head_dim) {
  const int64_t padded = round_up(head_dim, kPanel);
  return static_cast<size_t>(rows * (padded * 2 + kKeys + 2) + kKeys * padded * 2 + kPanel) * sizeof(float);
}

// Queries [tokens] of `group` heads (side by side in q), at positions [position, position + tokens), against one key head.
// lse, where not null, has a stride of ld_lse per token. Scratch: attention_scratch(tokens * group, head_dim).
inline void attend_block(const AttentionShape& shape, const HeadKeys& head, int group, int64_t tokens, int64_t position, const float* q, int64_t ldq, float* o, int64_t ldo, float* lse, int64_t ld_lse, float* scratch) {
  const int width = shape.head_dim;
  const int64_t padded = round_up(width, kPanel), rows = tokens * group;
  float* queries = scratch;                // [rows][padded], scaled
  float* sums = queries + rows * padded;   // [rows][padded]
  float* scores = sums + rows * padded;    // [rows][kKeys]
  float* highest = scores + rows * kKeys;  // [rows]
  float* totals = highest + rows;          // [rows]
  float* key_scratch = totals + rows;
  float* value_scratch = key_scratch + kKeys * padded;

  const Vec scale = set1(shape.scale);
  for (int64_t row = 0; row < rows; ++row) {  // row = member of the group * tokens + token
    const float* from = q + row % tokens * ldq + row / tokens * width;
    for_lanes(width, [&](int64_t i, int lanes) { store_lanes(queries + row * padded + i, mul(load_lanes(from + i, lanes), scale), lanes); });
    std::fill_n(sums + row * padded, padded, 0.0f);
    highest[row] = -std::numeric_limits<float>::infinity();
    totals[row] = 0;
  }

  const int64_t length = position + tokens;
  const int64_t oldest = shape.window > 0 ? std::max<int64_t>(0, position - shape.window + 1) : 0;
  for (int64_t first = oldest / kKeys * kKeys; first < length; first += kKeys) {
    const int64_t count = std::min<int64_t>(kKeys, length - first);
    const float* keys = head.keys(first, count, key_scratch);
    const Block values = head.values(first, count, value_scratch);
    for (int64_t r = 0; r < rows; r += kTileRows) {
      const int height = static_cast<int>(std::min<int64_t>(kTileRows, rows - r));
      int64_t depth = 0;  // keys any row of the tile sees
      for (int i = 0; i < height; ++i) depth = std::max(depth, visible_keys(shape, position + (r + i) % tokens, first).end);
      if (depth == 0) continue;
      float* tile_scores = scores + r * kKeys;
      const int64_t covered = round_up(depth, kPanel);
      multiply_panels({queries + r * padded, padded, 1}, height, keys, width * kPanel, kPanel, covered, width, tile_scores, kKeys, 1.0f, 0.0f);
      for (int i = 0; i < height; ++i) {
        const int64_t row = r + i;
        float* s = tile_scores + i * kKeys;
        const KeyRange seen = visible_keys(shape, position + row % tokens, first);
        if (seen.begin >= seen.end) {
          std::fill_n(s, covered, 0.0f);
          continue;
        }
        std::fill(s, s + seen.begin, -std::numeric_limits<float>::infinity());
        std::fill(s + seen.end, s + covered, -std::numeric_limits<float>::infinity());
        Vec most = load(s);
        for (int64_t j = kLanes; j < covered; j += kLanes) most = max(most, load(s + j));
        const float before = highest[row], now = std::max(before, largest(most));
        Vec total = zero();
        const Vec shift = set1(now);
        for (int64_t j = 0; j < covered; j += kLanes) {
          const Vec p = exp(sub(load(s + j), shift));
          store(s + j, p);
          total = add(total, p);
        }
        std::fill(s, s + seen.begin, 0.0f);
        std::fill(s + seen.end, s + covered, 0.0f);
        if (now > before) {
          const Vec fade = exp(set1(before - now));
          for (int64_t j = 0; j < padded; j += kLanes) store(sums + row * padded + j, mul(load(sums + row * padded + j), fade));
          float lanes[kLanes];
          store(lanes, fade);
          totals[row] *= lanes[0];
          highest[row] = now;
        }
        totals[row] += sum(total);
      }
      multiply_panels({tile_scores, kKeys, 1}, height, values.data, kPanel, values.step, padded, depth, sums + r * padded, padded, 1.0f, 1.0f);
    }
  }

  for (int64_t row = 0; row < rows; ++row) {
    const Vec inverse = set1(1.0f / totals[row]);
    float* to = o + row % tokens * ldo + row / tokens * width;
    for_lanes(width, [&](int64_t i, int lanes) { store_lanes(to + i, mul(load_lanes(sums + row * padded + i, lanes), inverse), lanes); });
    if (lse != nullptr) lse[row % tokens * ld_lse + row / tokens] = highest[row] + std::log(totals[row]);
  }
}

// Queries per work item for a group of heads.
inline int64_t query_block(int group) { return std::max<int64_t>(1, kQueryRows / group); }

}  // namespace
}  // namespace llama

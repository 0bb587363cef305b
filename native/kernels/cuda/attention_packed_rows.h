// Which tokens a block of a packed attention kernel works on, and the numbers that the backward kernels need of each query.
#pragma once
#include <limits>

#include "device.h"

namespace llama::cuda {

constexpr float log2_e = 1.4426950408889634f, ln_2 = 0.6931471805599453f;
constexpr float unseen = -std::numeric_limits<float>::infinity();  // the score of a key that is masked

// AttentionShape and PackedRows as kernels take them.
struct PackedAttention {
  const int32_t* offsets;
  int rows;
  int64_t tokens;
  int heads, kv_heads, group;  // group: query heads that share a key head
  int width;                   // head_dim
  int window;                  // i attends to j with 0 <= i - j < window
  float scale;
};

inline PackedAttention packed_attention_of(const AttentionShape& shape, const PackedRows& rows) {
  constexpr int unlimited = std::numeric_limits<int>::max();
  const int window = shape.window > 0 && shape.window < unlimited ? static_cast<int>(shape.window) : unlimited;
  return {rows.offsets, static_cast<int>(rows.count), rows.tokens, shape.heads, shape.kv_heads, shape.heads / shape.kv_heads,
          shape.head_dim, window, shape.scale};
}

// A tile of tokens [first, first + tile) of the packed row [begin, begin + length). Nothing to do where first >= length.
struct PackedTile {
  int begin, length, first;
};

// Row r has its tiles in slots offsets[r] / tile + r and following: room for all of them, without a sum over the rows before,
// in tokens / tile + rows slots.
inline int64_t packed_slots(const PackedAttention& attention, int tile) {
  return attention.tokens / tile + attention.rows;
}

// The tile of a slot. Whole warp: 32 rows are looked at together, so that up to 1024 rows take two loads.
__device__ inline PackedTile packed_tile(const PackedAttention& attention, int tile, int slot) {
  const int lane = static_cast<int>(threadIdx.x) % warp_size;
  int low = 0, high = attention.rows;
  while (high - low > 1) {
    const int step = (high - low + warp_size - 1) / warp_size, row = low + lane * step;
    const bool not_after = row < high && attention.offsets[row] / tile + row <= slot;
    low += (__popc(__ballot_sync(all_lanes, not_after)) - 1) * step;
    high = min(high, low + step);
  }
  const int begin = attention.offsets[low];
  return {begin, attention.offsets[low + 1] - begin, (slot - begin / tile - low) * tile};
}

// Of blocks that work on all heads of a slot, slot after slot. The longest go first, so that a grid ends with short ones: the
// last queries of a row see most keys, and its first keys are seen by most queries.
struct TileOfHead {
  int slot, head;
};
__device__ inline TileOfHead longest_keys_first(int heads) {
  const int index = static_cast<int>(blockIdx.x);
  return {index / heads, index % heads};
}
__device__ inline TileOfHead longest_queries_first(int heads) {
  const int index = static_cast<int>(gridDim.x - 1 - blockIdx.x);
  return {index / heads, index % heads};
}

// Keys [first, end) that queries [query, query + count) of a row of `length` see.
struct VisibleRange {
  int first, end;
};
__device__ inline VisibleRange visible_keys(const PackedAttention& attention, int query, int count, int length) {
  return {max(0, query - attention.window + 1), min(length, query + count)};
}
// Queries [first, end) that see any of keys [key, key + count).
__device__ inline VisibleRange visible_queries(const PackedAttention& attention, int key, int count, int length) {
  const int last = min(length, key + count) - 1;
  return {key, attention.window < length - last ? last + attention.window : length};
}

// Whether queries [query, query + queries) see any, and all, of keys [key, key + keys).
struct Visibility {
  bool any, all;
};
__device__ inline Visibility visibility(const PackedAttention& attention, int query, int queries, int key, int keys) {
  const int nearest = query - (key + keys - 1), farthest = query + queries - 1 - key;
  return {farthest >= 0 && nearest < attention.window, nearest >= 0 && farthest < attention.window};
}
__device__ inline bool visible(const PackedAttention& attention, int query, int key) {
  return key <= query && query - key < attention.window;
}

// What the backward kernels need of a query: its log-sum-exp in base 2, and sum(g * o).
struct alignas(8) QueryTerms {
  float lse2, delta;
};

// terms [heads, tokens]
template <class T>
void attention_query_terms(cudaStream_t stream, const PackedAttention& attention, const T* o, int64_t ldo, const T* g,
                           int64_t ldg, const float* lse, QueryTerms* terms);

}  // namespace llama::cuda

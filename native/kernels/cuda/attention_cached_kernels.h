// What the kernels behind attention_cached share: their arguments, and how a page is read.
#pragma once
#include "attention_plan.h"
#include "device.h"

// Before a loop whose arrays must be registers, and before one that would take too many.
#if defined(LLAMA_CUDA_EMULATED)
#define LLAMA_UNROLL
#define LLAMA_UNROLL_BY(times)
#else
#define LLAMA_PRAGMA(text) _Pragma(#text)
#define LLAMA_UNROLL LLAMA_PRAGMA(unroll)
#define LLAMA_UNROLL_BY(times) LLAMA_PRAGMA(unroll times)
#endif

namespace llama::cuda {

template <class T>
struct CachedAttention {
  const T* q;
  int64_t ldq;
  T* o;
  int64_t ldo;
  PlanView plan;
  int heads, kv_heads, group, head_dim;
  int row;               // elements between two positions of a head in a page
  int64_t keys, values;  // where this layer's begin in a page
  int64_t window;        // at least 1; larger than any position where there is no limit
  float scale;           // of scores in powers of two
  bool packed_q, packed_o;
  // Results of splits: log-sum-exp's parts [splits][heads][maximum, sum], and sums [splits][heads][partial_width].
  float* statistics;
  float* partial;
  int partial_width;
};

// Whole packs of four floats.
constexpr int partial_width_of(int head_dim) { return (head_dim + 3) / 4 * 4; }
constexpr int64_t statistics_floats(int64_t splits, int heads) { return (splits * heads * 2 + 3) / 4 * 4; }

// The first element of a kv_head's keys (`at` is a.keys) or values (a.values) in a page.
template <class T>
__device__ inline const T* head_of_page(const CachedAttention<T>& a, const void* page, int64_t at, int kv_head) {
  return static_cast<const T*>(page) + at + static_cast<int64_t>(kv_head) * page_tokens * a.row;
}

// The first position that the query at `position` attends to.
template <class T>
__device__ inline int first_visible(const CachedAttention<T>& a, int position) {
  return a.window > position ? 0 : position + 1 - static_cast<int>(a.window);
}

// Rows of one span against their keys: one for each query and head of a key head's group, query by query.
struct QueryTile {
  PrefillSpan span;
  int first;  // row of the span
};

// The tile of `rows` rows that block `index` of its key head works on; false where there is none. Tiles at the end of a
// prompt have the most keys and come first.
template <class T>
__device__ inline bool find_tile(const CachedAttention<T>& a, int rows, int index, QueryTile& tile) {
  for (int i = 0; i < static_cast<int>(a.plan.prefill_span_count); ++i) {
    const PrefillSpan span = a.plan.prefill_spans[i];
    const int tiles = (span.count * a.group + rows - 1) / rows;
    if (index < tiles) {
      tile = {span, (tiles - 1 - index) * rows};
      return true;
    }
    index -= tiles;
  }
  return false;
}

// Blocks that find_tile needs, from what the host knows.
template <class T>
inline unsigned most_tiles(const CachedAttention<T>& a, int rows) {
  if (a.plan.prefill_span_count == 0) return 0;
  return blocks_for(a.plan.prefill_rows * a.group, rows) + static_cast<unsigned>(a.plan.prefill_span_count);
}

// Queries that are alone in their span.
template <class T>
void attention_decode(cudaStream_t stream, const CachedAttention<T>& a);
template <>
void attention_decode(cudaStream_t stream, const CachedAttention<float>& a);

// Queries of longer spans.
template <class T>
void attention_prefill(cudaStream_t stream, const CachedAttention<T>& a);
template <>
void attention_prefill(cudaStream_t stream, const CachedAttention<float>& a);

}  // namespace llama::cuda

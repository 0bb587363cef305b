// How both prefill kernels divide a step's long spans among blocks.
#pragma once
#include <algorithm>

#include "attention_merge.h"

namespace llama::cuda {

constexpr int64_t most_splits = 16;

// Blocks (tile, key head, split). A tile is `rows` rows of one span: one for each query and head of a key head's group,
// query by query. Where tiles are few, each is split over its pages.
template <class T>
Grid prefill_grid(const CachedAttention<T>& a, int rows) {
  constexpr int64_t least_pages = 16;
  const int64_t tiles = (a.plan.prefill_rows * a.group + rows - 1) / rows + a.plan.prefill_span_count;
  const int64_t splits = std::min(prefill_blocks / (tiles * a.kv_heads), a.plan.prefill_pages / least_pages);
  return Grid{tiles, a.kv_heads, std::clamp<int64_t>(splits, 1, most_splits)};
}

template <class T, int tile_rows>
struct QueryTile {
  PrefillSpan span;
  int first, rows;            // rows [first, first + tile_rows) of the span's `rows`
  int group, kv_head;
  int first_page, end_page;  // of this block

  // Of the span's first row in q and o.
  __device__ int64_t query_of(int row) const { return span.row + (first + row) / group; }
  __device__ int head_of(int row) const { return kv_head * group + (first + row) % group; }
  __device__ bool holds(int row) const { return first + row < rows; }
  // Rows behind the end are where the last one is.
  __device__ int position_of(int row) const { return span.position + min(first + row, rows - 1) / group; }

  // False where there is nothing to do. Tiles at the end of a prompt have the most keys and come first.
  __device__ bool find(const CachedAttention<T>& a) {
    group = a.group;
    kv_head = static_cast<int>(blockIdx.y);
    int index = static_cast<int>(blockIdx.x);
    for (int i = 0; i < static_cast<int>(a.plan.prefill_span_count); ++i) {
      span = a.plan.prefill_spans[i];
      rows = span.count * group;
      const int tiles = (rows + tile_rows - 1) / tile_rows;
      if (index < tiles) {
        first = (tiles - 1 - index) * tile_rows;
        const int begin = first_visible(a, position_of(0)) / page_tokens;
        const int end = position_of(tile_rows - 1) / page_tokens + 1;
        const int splits = static_cast<int>(gridDim.z), each = (end - begin + splits - 1) / splits;
        first_page = begin + static_cast<int>(blockIdx.z) * each;
        end_page = min(first_page + each, end);
        return true;
      }
      index -= tiles;
    }
    return false;
  }
};

// Of this block's tile and key head.
template <int tile_rows>
__device__ inline int64_t part_of(int split, int row) {
  const int64_t block = (static_cast<int64_t>(blockIdx.x) * gridDim.y + blockIdx.y) * gridDim.z + split;
  return block * tile_rows + row;
}

// The last block of a tile's splits puts them together. `weights`: shared memory, most_splits * tile_rows + 1 floats
// that nothing else needs any more.
template <class T, int tile_rows>
__device__ inline void combine_tile(const CachedAttention<T>& a, const QueryTile<T, tile_rows>& tile, float* weights) {
  const int splits = static_cast<int>(gridDim.z), thread = static_cast<int>(threadIdx.x);
  if (splits == 1) return;
  auto* last = reinterpret_cast<int*>(weights + most_splits * tile_rows);
  if (!comes_last(a.plan.prefill_counters + blockIdx.x * gridDim.y + blockIdx.y, splits, last)) return;
  const Parts parts(a.scratch, static_cast<int64_t>(prefill_blocks) * tile_rows, a.head_dim);
  if (thread < tile_rows && tile.holds(thread)) {
    float most = -INFINITY, sum = 0;
    for (int s = 0; s < splits; ++s) most = fmaxf(most, parts.statistics[part_of<tile_rows>(s, thread) * 2]);
    for (int s = 0; s < splits; ++s) {
      const float* statistics = parts.statistics + part_of<tile_rows>(s, thread) * 2;
      const float weight = weight_of(statistics[0], most);
      weights[s * tile_rows + thread] = weight;
      sum += weight * statistics[1];
    }
    for (int s = 0; s < splits; ++s) weights[s * tile_rows + thread] /= sum;
  }
  __syncthreads();
  const int packs = parts.width / 4;
  for (int i = thread; i < tile_rows * packs; i += static_cast<int>(blockDim.x)) {
    const int row = i / packs, column = i % packs * 4;
    if (!tile.holds(row)) break;
    Pack<float, 4> o{};
    for (int s = 0; s < splits; ++s) {
      const Pack<float, 4> x = load_pack<float, 4>(parts.o + part_of<tile_rows>(s, row) * parts.width + column);
      for (int j = 0; j < 4; ++j) o.at[j] += weights[s * tile_rows + row] * x.at[j];
    }
    T* to = a.o + tile.query_of(row) * a.ldo + static_cast<int64_t>(tile.head_of(row)) * a.head_dim + column;
    for (int j = 0; j < 4; ++j) {
      if (column + j < a.head_dim) to[j] = from_float<T>(o.at[j]);
    }
  }
}

}  // namespace llama::cuda

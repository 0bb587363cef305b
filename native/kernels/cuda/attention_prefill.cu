#include <cmath>

#include "attention_prefill.h"
#include "tensor_core.h"

namespace llama::cuda {
namespace {

constexpr int prefill_warps = 4;
constexpr int prefill_threads = prefill_warps * warp_size;
constexpr int tile_rows = prefill_warps * 16;
static_assert(tile_rows <= largest_tile);

// Where pack `pack` (8 elements) of row `row` lies in a tile of rows of D elements, in elements: packs change places
// within a row so that eight rows' packs of one column lie in different banks.
template <int D>
__device__ inline int swizzled(int row, int pack) {
  const int turn = D / 8 % 8 == 0 ? row % 8 : row / 2 % 4;
  return row * D + (pack ^ turn) * 8;
}

// body(row, pack) for every pack of `rows` rows of D elements, whole block: a thread keeps its pack and goes down the
// rows.
template <int D, int rows, class Body>
__device__ inline void each_pack(Body body) {
  constexpr int lanes = D == 96 ? 16 : D / 8, step = prefill_threads / lanes;
  const int pack = static_cast<int>(threadIdx.x) % lanes, first = static_cast<int>(threadIdx.x) / lanes;
  if (pack >= D / 8) return;
  // All at once would take registers that hold sums.
#pragma unroll (4)
  for (int i = 0; i < rows / step; ++i) body(first + i * step, pack);
}

// A page's keys and values of one head into shared memory; zeros behind row `last` and behind the rows' ends.
template <class T, int D>
__device__ inline void load_page(const CachedAttention<T>& a, const void* page, int last, int kv_head, T* keys,
                                 T* values) {
  const T* k = head_of_page(a, page, a.keys, kv_head);
  const int apart = static_cast<int>(a.values - a.keys);
  each_pack<D, page_tokens>([&](int row, int pack) {
    const bool valid = row <= last && pack * 8 < a.row;
    const T* at = k + row * a.row + pack * 8;
    const int to = swizzled<D>(row, pack);
    copy_16(keys + to, at, valid);
    copy_16(values + to, at + apart, valid);
  });
  commit_copies();
}

// The tile's queries into shared memory, zeros where there are none.
template <class T, int D>
__device__ inline void load_queries(const CachedAttention<T>& a, const QueryTile<T, tile_rows>& tile, T* queries) {
  each_pack<D, tile_rows>([&](int row, int pack) {
    T* to = queries + swizzled<D>(row, pack);
    const bool valid = tile.holds(row) && pack * 8 < a.head_dim;
    const T* at = a.q;
    if (valid) at += tile.query_of(row) * a.ldq + static_cast<int64_t>(tile.head_of(row)) * a.head_dim + pack * 8;
    if (a.packed_q) {
      copy_16(to, at, valid);
    } else {
      for (int i = 0; i < 8; ++i) to[i] = valid && pack * 8 + i < a.head_dim ? at[i] : T{0};
    }
  });
  commit_copies();
}

// 64 rows (queries of one span times the heads of a group) against the pages that they see, a page of 32 positions at a
// time: scores by tensor cores in registers, softmax as the pages come, weights used from the registers that the scores
// were in. 4 head_dim FLOPs a row and position, and 4 head_dim bytes a position for each tile: 64 FLOPs a byte, which
// the second-level cache gives; bound by the tensor cores. One page is computed while the next one is copied.
template <class T, int D>
__global__ void __launch_bounds__(prefill_threads, D <= 32 ? 4 : D <= 64 ? 3 : 2) prefill_kernel(CachedAttention<T> a) {
  // Stages of [keys, values][page_tokens][D], and the queries [tile_rows][D]: where the stages come afterwards, or for
  // wide heads, which have no registers for both queries and results, in front of a single stage.
  LLAMA_SHARED(T, shared);
  constexpr bool holds_queries = D <= 128;
  constexpr int steps = D / 16, part = page_tokens * D, stages = holds_queries ? 2 : 1;
  T* pages = holds_queries ? shared : shared + tile_rows * D;
  QueryTile<T, tile_rows> tile;
  if (!tile.find(a)) return;
  const int lane = static_cast<int>(threadIdx.x) % warp_size, warp = static_cast<int>(threadIdx.x) / warp_size;
  const int g = lane / 4, c = lane % 4;
  const int first = tile.first_page, end = tile.end_page, last = tile.position_of(tile_rows - 1);

  load_queries<T, D>(a, tile, shared);
  wait_for_copies<0>();
  __syncthreads();
  uint32_t q[holds_queries ? steps : 1][4];
  const auto read_queries = [&](int step) {
    load_matrices(q[holds_queries ? step : 0], shared + swizzled<D>(16 * warp + lane % 16, 2 * step + lane / 16));
  };
  if constexpr (holds_queries) {
    for (int step = 0; step < steps; ++step) read_queries(step);
    __syncthreads();
  }

  // Rows g and g + 8 of the warp's 16.
  const int own[2] = {tile.position_of(16 * warp + g), tile.position_of(16 * warp + g + 8)};
  const int least = tile.position_of(16 * warp), largest = tile.position_of(16 * warp + 15);
  const int visible = first_visible(a, largest);  // to every row of the warp from here on
  const bool idle = !tile.holds(16 * warp);
  float o[D / 8][4] = {};
  float most[2] = {-INFINITY, -INFINITY}, sum[2] = {};
  // An address is read a page before it is needed: nothing that is computed waits for it.
  void* const* table = a.plan.pages + tile.span.pages;
  const void* following = first < end ? table[first] : nullptr;
  const auto load = [&](int page) {
    T* to = pages + (page - first) % stages * 2 * part;
    load_page<T, D>(a, following, last - page * page_tokens, tile.kv_head, to, to + part);
    if (page + 1 < end) following = table[page + 1];
  };
  if (first < end) load(first);
  for (int page = first; page < end; ++page) {
    const int start = page * page_tokens;
    const T* keys = pages + (page - first) % stages * 2 * part;
    const T* values = keys + part;
    if (stages == 1 && page > first) {
      __syncthreads();
      load(page);
    }
    wait_for_copies<0>();
    __syncthreads();
    if (stages == 2 && page + 1 < end) load(page + 1);
    if (idle || start > largest) continue;

    float s[4][4] = {};  // columns of eight positions each
#pragma unroll (8)
    for (int step = 0; step < steps; ++step) {
      if constexpr (!holds_queries) read_queries(step);
      for (int n = 0; n < 2; ++n) {
        uint32_t k[4];
        load_matrices(k, keys + swizzled<D>(16 * n + lane % 8 + lane / 16 * 8, 2 * step + lane / 8 % 2));
        const uint32_t low[2] = {k[0], k[1]}, high[2] = {k[2], k[3]};
        mma_16x8x16<T>(s[2 * n], q[holds_queries ? step : 0], low);
        mma_16x8x16<T>(s[2 * n + 1], q[holds_queries ? step : 0], high);
      }
    }

    const bool masked = start + page_tokens - 1 > least || start < visible;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float larger = most[half];
      for (int n = 0; n < 4; ++n) {
        for (int i = 2 * half; i < 2 * half + 2; ++i) {
          const int position = start + 8 * n + 2 * c + i % 2;
          s[n][i] *= a.scale;
          if (masked && (position > own[half] || own[half] - position >= a.window)) s[n][i] = -INFINITY;
          larger = fmaxf(larger, s[n][i]);
        }
      }
      larger = fmaxf(larger, __shfl_xor_sync(all_lanes, larger, 1));
      larger = fmaxf(larger, __shfl_xor_sync(all_lanes, larger, 2));
      const float base = larger == -INFINITY ? 0.0f : larger;  // a row may see nothing of its first pages
      const float shrink = exp2f(most[half] - base);
      if (__any_sync(all_lanes, larger > most[half])) {
#pragma unroll
        for (int n = 0; n < D / 8; ++n) {
          o[n][2 * half] *= shrink;
          o[n][2 * half + 1] *= shrink;
        }
      }
      most[half] = larger;
      sum[half] *= shrink;
      for (int n = 0; n < 4; ++n) {
        for (int i = 2 * half; i < 2 * half + 2; ++i) sum[half] += s[n][i] = exp2f(s[n][i] - base);
      }
    }

#pragma unroll
    for (int step = 0; step < page_tokens / 16; ++step) {
      const uint32_t p[4] = {pair_of<T>(s[2 * step][0], s[2 * step][1]), pair_of<T>(s[2 * step][2], s[2 * step][3]),
                             pair_of<T>(s[2 * step + 1][0], s[2 * step + 1][1]),
                             pair_of<T>(s[2 * step + 1][2], s[2 * step + 1][3])};
#pragma unroll
      for (int n = 0; n < D / 16; ++n) {
        uint32_t v[4];
        load_matrices<true>(v, values + swizzled<D>(16 * step + lane % 16, 2 * n + lane / 16));
        const uint32_t low[2] = {v[0], v[1]}, high[2] = {v[2], v[3]};
        mma_16x8x16<T>(o[2 * n], p, low);
        mma_16x8x16<T>(o[2 * n + 1], p, high);
      }
    }
  }

  const Parts parts(a.scratch, static_cast<int64_t>(prefill_blocks) * tile_rows, a.head_dim);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    sum[half] += __shfl_xor_sync(all_lanes, sum[half], 1);
    sum[half] += __shfl_xor_sync(all_lanes, sum[half], 2);
    const int row = 16 * warp + g + 8 * half;
    if (!tile.holds(row)) continue;
    if (gridDim.z > 1) {
      const int64_t place = part_of<tile_rows>(static_cast<int>(blockIdx.z), row);
      if (c == 0) store_pack<float, 2>(parts.statistics + place * 2, {{most[half], sum[half]}});
#pragma unroll
      for (int n = 0; n < D / 8; ++n) {
        const int column = 8 * n + 2 * c;
        if (column >= a.head_dim) break;
        store_pack<float, 2>(parts.o + place * parts.width + column, {{o[n][2 * half], o[n][2 * half + 1]}});
      }
      continue;
    }
    T* to = a.o + tile.query_of(row) * a.ldo + static_cast<int64_t>(tile.head_of(row)) * a.head_dim;
    const float inverse = 1 / sum[half];
#pragma unroll
    for (int n = 0; n < D / 8; ++n) {
      const int column = 8 * n + 2 * c;
      if (column >= a.head_dim) break;
      const T x = from_float<T>(o[n][2 * half] * inverse), y = from_float<T>(o[n][2 * half + 1] * inverse);
      if (a.packed_o) {
        store_pack<T, 2>(to + column, {{x, y}});
      } else {
        to[column] = x;
        to[column + 1] = y;
      }
    }
  }
  combine_tile(a, tile, reinterpret_cast<float*>(shared));
}

template <class T, int D>
void launch_prefill(cudaStream_t stream, const CachedAttention<T>& a) {
  constexpr size_t shared_bytes = size_t{4} * page_tokens * D * sizeof(T);
  static_assert(shared_bytes > most_splits * tile_rows * sizeof(float));
  static_assert(2 * page_tokens == tile_rows);  // a stage takes as much as the queries
  launch(prefill_kernel<T, D>, prefill_grid(a, tile_rows), dim3(prefill_threads), shared_bytes, stream, a);
}

}  // namespace

template <class T>
void attention_prefill(cudaStream_t stream, const CachedAttention<T>& a) {
  if (a.head_dim <= 32) return launch_prefill<T, 32>(stream, a);
  if (a.head_dim <= 64) return launch_prefill<T, 64>(stream, a);
  if (a.head_dim <= 96) return launch_prefill<T, 96>(stream, a);
  if (a.head_dim <= 128) return launch_prefill<T, 128>(stream, a);
  launch_prefill<T, 256>(stream, a);
}

template void attention_prefill(cudaStream_t, const CachedAttention<Bf16>&);
template void attention_prefill(cudaStream_t, const CachedAttention<Half>&);

}  // namespace llama::cuda

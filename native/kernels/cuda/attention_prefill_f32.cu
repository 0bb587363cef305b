#include <cmath>

#include "attention_prefill.h"

namespace llama::cuda {
namespace {

constexpr int tile_rows = 16, row_threads = 8;  // threads that share a row
static_assert(tile_rows <= largest_tile);
constexpr int prefill_threads = tile_rows * row_threads;
constexpr int row_keys = page_tokens / row_threads;

// As prefill_kernel of attention_prefill.cu, for float32: 16 rows against a page of 32 positions at a time. 4 head_dim
// FLOPs a row and position on the ordinary units, which bound it, for 8 head_dim bytes a position and tile. Keys and
// values take turns in one buffer, so that head_dim 256 fits into 64 KB.
template <int D>
__global__ void __launch_bounds__(prefill_threads) prefill_f32_kernel(CachedAttention<float> a) {
  constexpr int stride = D + 4;  // rows of eight threads lie in different banks
  LLAMA_SHARED(float, queries);  // [tile_rows][D]
  float* page_rows = queries + tile_rows * D;             // [page_tokens][stride]
  float* weights = page_rows + page_tokens * stride;      // [tile_rows][page_tokens + 1]
  QueryTile<float, tile_rows> tile;
  if (!tile.find(a)) return;
  const int thread = static_cast<int>(threadIdx.x), row = thread / row_threads, c = thread % row_threads;
  const int own = tile.position_of(row), last = tile.position_of(tile_rows - 1);

  for (int i = thread; i < tile_rows * D; i += prefill_threads) {
    const int r = i / D, column = i % D;
    const float* query = a.q + tile.query_of(r) * a.ldq + static_cast<int64_t>(tile.head_of(r)) * a.head_dim;
    queries[i] = tile.holds(r) && column < a.head_dim ? query[column] * a.scale : 0.0f;
  }

  Pack<float, 4> o[D / 32] = {};
  float most = -INFINITY, sum = 0;
  for (int page = tile.first_page; page < tile.end_page; ++page) {
    const void* from = a.plan.pages[tile.span.pages + page];
    const auto load = [&](int64_t at) {
      const float* head = head_of_page(a, from, at, tile.kv_head);
      __syncthreads();  // what is there is done with
#pragma unroll (4)
      for (int i = thread; i < page_tokens * (D / 4); i += prefill_threads) {
        const int token = i / (D / 4), column = i % (D / 4) * 4;
        const bool valid = page * page_tokens + token <= last && column < a.row;
        store_pack<float, 4>(page_rows + token * stride + column,
                             valid ? load_pack<float, 4>(head + token * a.row + column) : Pack<float, 4>{});
      }
      __syncthreads();
    };

    load(a.keys);
    float s[row_keys] = {}, larger = most;
    for (int column = 0; column < D; column += 4) {
      const Pack<float, 4> q = load_pack<float, 4>(queries + row * D + column);
      for (int j = 0; j < row_keys; ++j) {
        const Pack<float, 4> k = load_pack<float, 4>(page_rows + (c + row_threads * j) * stride + column);
        for (int i = 0; i < 4; ++i) s[j] += q.at[i] * k.at[i];
      }
    }
    for (int j = 0; j < row_keys; ++j) {
      const int position = page * page_tokens + c + row_threads * j;
      if (position > own || own - position >= a.window) s[j] = -INFINITY;
      larger = fmaxf(larger, s[j]);
    }
    for (int offset = row_threads / 2; offset > 0; offset /= 2) {
      larger = fmaxf(larger, __shfl_xor_sync(all_lanes, larger, offset));
    }
    const float base = larger == -INFINITY ? 0.0f : larger;  // a row may see nothing of its first pages
    const float shrink = exp2f(most - base);
    most = larger;
    sum *= shrink;
    for (int j = 0; j < row_keys; ++j) {
      const float weight = exp2f(s[j] - base);
      sum += weight;
      weights[row * (page_tokens + 1) + c + row_threads * j] = weight;
    }
    for (auto& pack : o) {
      for (float& x : pack.at) x *= shrink;
    }

    load(a.values);
    for (int token = 0; token < page_tokens; ++token) {
      const float weight = weights[row * (page_tokens + 1) + token];
      for (int n = 0; n < D / 32; ++n) {
        const Pack<float, 4> v = load_pack<float, 4>(page_rows + token * stride + 4 * (c + row_threads * n));
        for (int i = 0; i < 4; ++i) o[n].at[i] += weight * v.at[i];
      }
    }
  }

  for (int offset = row_threads / 2; offset > 0; offset /= 2) sum += __shfl_xor_sync(all_lanes, sum, offset);
  if (tile.holds(row)) {
    const Parts parts(a.scratch, static_cast<int64_t>(prefill_blocks) * tile_rows, a.head_dim);
    const bool whole = gridDim.z == 1;
    const int64_t place = part_of<tile_rows>(static_cast<int>(blockIdx.z), row);
    float* to = whole ? a.o + tile.query_of(row) * a.ldo + static_cast<int64_t>(tile.head_of(row)) * a.head_dim
                      : parts.o + place * parts.width;
    const float scale = whole ? 1 / sum : 1.0f;
    if (!whole && c == 0) store_pack<float, 2>(parts.statistics + place * 2, {{most, sum}});
    for (int n = 0; n < D / 32; ++n) {
      for (int i = 0; i < 4; ++i) {
        const int column = 4 * (c + row_threads * n) + i;
        if (column < a.head_dim) to[column] = o[n].at[i] * scale;
      }
    }
  }
  combine_tile(a, tile, queries);
}

template <int D>
void launch_prefill(cudaStream_t stream, const CachedAttention<float>& a) {
  constexpr size_t floats = tile_rows * D + page_tokens * (D + 4) + tile_rows * (page_tokens + 1);
  static_assert(floats > most_splits * tile_rows);
  launch(prefill_f32_kernel<D>, prefill_grid(a, tile_rows), dim3(prefill_threads), floats * sizeof(float), stream, a);
}

}  // namespace

template <>
void attention_prefill(cudaStream_t stream, const CachedAttention<float>& a) {
  if (a.head_dim <= 32) return launch_prefill<32>(stream, a);
  if (a.head_dim <= 64) return launch_prefill<64>(stream, a);
  if (a.head_dim <= 128) return launch_prefill<128>(stream, a);
  launch_prefill<256>(stream, a);
}

}  // namespace llama::cuda

#include <cmath>

#include "attention_cached_kernels.h"

namespace llama::cuda {
namespace {

constexpr int tile_rows = 16, row_threads = 8;  // threads that share a row
constexpr int prefill_threads = tile_rows * row_threads;
constexpr int row_keys = page_tokens / row_threads;

// As prefill_kernel of attention_prefill.cu, for float32: 16 rows against a page of 32 positions at a time. 4 head_dim FLOPs a
// row and position on the ordinary units, which bound it, for 8 head_dim bytes a position and tile. Keys and values take
// turns in one buffer, so that head_dim 256 fits into 64 KB.
template <int D>
__global__ void __launch_bounds__(prefill_threads) prefill_f32_kernel(CachedAttention<float> a) {
  constexpr int stride = D + 4;  // rows of eight threads lie in different banks
  LLAMA_SHARED(float, queries);  // [tile_rows][D]
  float* page_rows = queries + tile_rows * D;             // [page_tokens][stride]
  float* weights = page_rows + page_tokens * stride;      // [tile_rows][page_tokens + 1]
  QueryTile tile;
  if (!find_tile(a, tile_rows, static_cast<int>(blockIdx.x), tile)) return;
  const int kv_head = static_cast<int>(blockIdx.y), thread = static_cast<int>(threadIdx.x);
  const int row = thread / row_threads, c = thread % row_threads;
  const int rows = tile.span.count * a.group;
  const auto position_of = [&](int r) { return tile.span.position + min(tile.first + r, rows - 1) / a.group; };
  const auto column_of = [&](int index) { return static_cast<int64_t>(kv_head * a.group + index % a.group) * a.head_dim; };
  const int first = first_visible(a, position_of(0)) / page_tokens, last = position_of(tile_rows - 1);
  const int own = position_of(row);

  for (int i = thread; i < tile_rows * D; i += prefill_threads) {
    const int index = tile.first + i / D, column = i % D;
    queries[i] = index < rows && column < a.head_dim
                     ? a.q[(tile.span.row + index / a.group) * a.ldq + column_of(index) + column] * a.scale
                     : 0.0f;
  }

  Pack<float, 4> o[D / 32] = {};
  float most = -INFINITY, sum = 0;
  for (int page = first; page <= last / page_tokens; ++page) {
    const void* from = a.plan.pages[tile.span.pages + page];
    const auto load = [&](int64_t at) {
      const float* head = head_of_page(a, from, at, kv_head);
      __syncthreads();  // what is there is done with
      LLAMA_UNROLL_BY(4)
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
  const int index = tile.first + row;
  if (index >= rows) return;
  float* to = a.o + (tile.span.row + index / a.group) * a.ldo + column_of(index);
  for (int n = 0; n < D / 32; ++n) {
    for (int i = 0; i < 4; ++i) {
      const int column = 4 * (c + row_threads * n) + i;
      if (column < a.head_dim) to[column] = o[n].at[i] / sum;
    }
  }
}

template <int D>
void launch_prefill(cudaStream_t stream, const CachedAttention<float>& a) {
  const dim3 blocks(most_tiles(a, tile_rows), static_cast<unsigned>(a.kv_heads));
  constexpr size_t floats = tile_rows * D + page_tokens * (D + 4) + tile_rows * (page_tokens + 1);
  launch(prefill_f32_kernel<D>, blocks, dim3(prefill_threads), floats * sizeof(float), stream, a);
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

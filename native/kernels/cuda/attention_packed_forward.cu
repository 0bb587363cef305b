// Forward attention over packed rows on tensor cores.
#include "attention_packed.h"
#include "attention_packed_tiles.h"

namespace llama::cuda {

namespace {

// Two matrices of 16 queries in a warp halve what is read of k and v from shared memory for a product.
template <int D>
struct ForwardTile {
  static constexpr int M = D <= 128 ? 2 : 1;
  static constexpr int queries = tile_warps * 16 * M;
  static constexpr int keys = D <= 96 ? 64 : 32;
  static constexpr size_t bytes = static_cast<size_t>(queries + 2 * keys) * D * 2;
  static_assert(bytes <= size_t{64} << 10);
};

template <class T>
struct ForwardOperands {
  const T *q, *k, *v;
  T* o;
  float* lse;
  int64_t ldq, ldkv, ldo;
};

// The running softmax of a lane's rows 16 m + 8 half. Scores are relative to `reference`, in base 2.
template <int M>
struct RunningSoftmax {
  float reference[M][2], total[M][2];
};

// Takes scores [16 M, N] of further keys in, and leaves their weights in their place. The reference follows the highest score
// only when that has grown by 2^8: weights up to 256 are as exact as those up to 1, and the sums so far (o, totals) are
// seldom to be multiplied.
template <int M, int N, int D>
__device__ inline void take_scores(RunningSoftmax<M>& softmax, Sums<M, N>& scores, Sums<M, D>& o, float scale2) {
  constexpr float slack = 8;
  float highest[M][2];
  bool grown = false;
#pragma unroll
  for (int m = 0; m < M; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float most = unseen;
#pragma unroll
      for (int n = 0; n < N / 8; ++n) most = fmaxf(most, fmaxf(scores.at[m][n][half * 2], scores.at[m][n][half * 2 + 1]));
      most = fmaxf(most, __shfl_xor_sync(all_lanes, most, 1));
      most = fmaxf(most, __shfl_xor_sync(all_lanes, most, 2)) * scale2;
      highest[m][half] = most;
      grown = grown || most > softmax.reference[m][half] + slack;
    }
  }
  if (__any_sync(all_lanes, grown)) {
#pragma unroll
    for (int m = 0; m < M; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float before = softmax.reference[m][half], now = fmaxf(before, highest[m][half]);
        const float factor = before == unseen ? 0 : fast_exp2(before - now);
        softmax.reference[m][half] = now;
        softmax.total[m][half] *= factor;
#pragma unroll
        for (int n = 0; n < D / 8; ++n) o.at[m][n][half * 2] *= factor, o.at[m][n][half * 2 + 1] *= factor;
      }
    }
  }
#pragma unroll
  for (int m = 0; m < M; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      // A row that has not seen a key yet has only scores of -infinity.
      const float shift = softmax.reference[m][half] == unseen ? 0 : softmax.reference[m][half];
#pragma unroll
      for (int n = 0; n < N / 8; ++n) {
#pragma unroll
        for (int i = half * 2; i < half * 2 + 2; ++i) {
          scores.at[m][n][i] = fast_exp2(fmaf(scores.at[m][n][i], scale2, -shift));
          softmax.total[m][half] += scores.at[m][n][i];
        }
      }
    }
  }
}

// q [tokens, heads * width], k, v [tokens, kv_heads * width] -> o like q, lse [tokens, heads]. A block: one query tile of one
// head; a warp: 16 M of its queries, their o in registers. 4 width FLOP per visible pair; bytes: q and o once, k and v once
// per query tile, mostly from L2. Bound by the tensor cores, on which reading k and v from shared memory comes close; while
// the scores of a tile are worked out its v arrives, and the next k during the rest.
template <class T, int D, bool packed>
__global__ void __launch_bounds__(tile_threads) forward(PackedAttention attention, ForwardOperands<T> operands) {
  using Tile = ForwardTile<D>;
  constexpr int M = Tile::M, N = Tile::keys;
  LLAMA_SHARED(T, q_tile);
  T *k_tile = q_tile + Tile::queries * D, *v_tile = k_tile + N * D;

  const auto [slot, head] = longest_queries_first(attention.heads);
  const PackedTile tile = packed_tile(attention, Tile::queries, slot);
  if (tile.first >= tile.length) return;
  const int width = attention.width, column = head * width, kv_column = head / attention.group * width;
  const T* q = operands.q + tile.begin * operands.ldq + column;
  const T* k = operands.k + tile.begin * operands.ldkv + kv_column;
  const T* v = operands.v + tile.begin * operands.ldkv + kv_column;
  const VisibleRange keys = visible_keys(attention, tile.first, Tile::queries, tile.length);
  const int warp_row = static_cast<int>(threadIdx.x) / warp_size * 16 * M, query = tile.first + warp_row;
  const float scale2 = attention.scale * log2_e;

  load_tile<D, Tile::queries, packed>(q_tile, q, operands.ldq, tile.first, tile.length, width);
  load_tile<D, N, packed>(k_tile, k, operands.ldkv, keys.first, tile.length, width);
  commit_copies();

  Sums<M, D> o;
  RunningSoftmax<M> softmax;
  for (int m = 0; m < M; ++m) {
    for (int half = 0; half < 2; ++half) {
      softmax.reference[m][half] = unseen;
      softmax.total[m][half] = 0;
    }
  }
  for (int key = keys.first; key < keys.end; key += N) {
    const Visibility seen = visibility(attention, query, 16 * M, key, N);
    const bool active = seen.any && query < tile.length;
    wait_for_copies<0>();
    __syncthreads();  // k is here, v is read
    load_tile<D, N, packed>(v_tile, v, operands.ldkv, key, tile.length, width);
    commit_copies();
    Sums<M, N> scores;
    if (active) multiply_rows<D>(scores, q_tile, warp_row, k_tile);
    wait_for_copies<0>();
    __syncthreads();  // v is here, k is read
    if (key + N < keys.end) load_tile<D, N, packed>(k_tile, k, operands.ldkv, key + N, tile.length, width);
    commit_copies();
    if (!active) continue;
    if (!seen.all) mask_scores(attention, scores, query, key);
    take_scores(softmax, scores, o, scale2);
    LeftOperand<M, N> weights;
    round_to_left<T>(weights, scores);
    multiply_columns<D>(o, weights, v_tile, 0);
  }

  for (int m = 0; m < M; ++m) {
    for (int half = 0; half < 2; ++half) {
      float& total = softmax.total[m][half];
      total += __shfl_xor_sync(all_lanes, total, 1);
      total += __shfl_xor_sync(all_lanes, total, 2);
      const int row = query + m * 16 + half * 8 + lane_row();
      if (lane_column() != 0 || row >= tile.length) continue;
      float* lse = operands.lse + static_cast<int64_t>(tile.begin + row) * attention.heads + head;
      *lse = (softmax.reference[m][half] + log2f(total)) * ln_2;
    }
  }
  // q has been read: each warp has only its own rows of it.
  sums_to_tile<D>(q_tile, warp_row, 0, o, [&](int m, int half) { return 1 / softmax.total[m][half]; });
  __syncthreads();
  T* to = operands.o + tile.begin * operands.ldo + column;
  store_tile<D, Tile::queries, packed>(q_tile, to, operands.ldo, tile.first, tile.length, width);
}

}  // namespace

template <class T>
void attention_packed(cudaStream_t stream, const AttentionShape& shape, const PackedRows& rows, const T* q, int64_t ldq,
                      const T* k, const T* v, int64_t ldkv, T* o, int64_t ldo, float* lse) {
  const PackedAttention attention = packed_attention_of(shape, rows);
  const ForwardOperands<T> operands{q, k, v, o, lse, ldq, ldkv, ldo};
  const bool packed = packable(q, ldq, shape.head_dim, chunk) && packable(k, ldkv, shape.head_dim, chunk) &&
                      packable(v, ldkv, shape.head_dim, chunk) && packable(o, ldo, shape.head_dim, chunk);
  with_tile_width(shape.head_dim, [&](auto width) {
    constexpr int D = width;
    using Tile = ForwardTile<D>;
    const Grid grid{packed_slots(attention, Tile::queries) * shape.heads};
    const auto kernel = packed ? forward<T, D, true> : forward<T, D, false>;
    launch(kernel, grid, dim3(tile_threads), Tile::bytes, stream, attention, operands);
  });
}

template void attention_packed(cudaStream_t, const AttentionShape&, const PackedRows&, const Bf16*, int64_t, const Bf16*,
                               const Bf16*, int64_t, Bf16*, int64_t, float*);
template void attention_packed(cudaStream_t, const AttentionShape&, const PackedRows&, const Half*, int64_t, const Half*,
                               const Half*, int64_t, Half*, int64_t, float*);

}  // namespace llama::cuda

// Gradients of attention over packed rows on tensor cores. With g = d(loss)/d(o):
//   p = exp(scale q kᵀ - lse), dv = pᵀ g, ds = p (g vᵀ - sum(g o)), dq = scale ds k, dk = scale dsᵀ q.
// dk and dv are worked out for a tile of keys at a time and dq for a tile of queries, so that every sum is in one block: p and
// g vᵀ are made twice, for sums that need no atomics.
#include "attention_packed.h"
#include "attention_packed_tiles.h"

namespace llama::cuda {

namespace {

template <class T>
struct BackwardOperands {
  const T *q, *k, *v, *g;
  const QueryTerms* terms;  // [heads, tokens]
  T *dq, *dk, *dv;
  int64_t ldq, ldkv, ldg, lddq, lddkv;
};

// A block that makes sums for [rows, D] and looks at `others` tokens of the other side together, in `buffers` by turns. Of
// head_dim 256 a warp has registers for the sums of half the columns only; two warps share their rows then.
template <int D, int M_, int others_, int buffers>
struct BackwardTile {
  static constexpr int M = M_, others = others_;
  static constexpr int splits = D > 128 ? 2 : 1, C = D / splits;
  static constexpr int rows = tile_warps / splits * 16 * M;
  static constexpr size_t bytes = static_cast<size_t>(2 * rows + 2 * buffers * others) * D * 2;
  static_assert(bytes <= size_t{64} << 10);

  // Where a warp's sums lie in [rows, D].
  struct Place {
    int row, column;
  };
  __device__ static Place place() {
    const int warp = static_cast<int>(threadIdx.x) / warp_size;
    return {warp / splits * 16 * M, warp % splits * C};
  }
};
template <int D>
using KeysTile = BackwardTile<D, 1, D <= 128 ? 32 : 16, 2>;
template <int D>
using QueriesTile = BackwardTile<D, D <= 64 ? 2 : 1, D == 96 ? 64 : 32, 1>;

// A value for each of the columns of Sums that a lane has.
template <int N>
struct OfColumns {
  float at[N / 8][2];
};
// Lane i gives that of column i.
template <int N>
__device__ inline void lanes_to_columns(OfColumns<N>& of, float value) {
  static_assert(N <= warp_size);
#pragma unroll
  for (int n = 0; n < N / 8; ++n) {
#pragma unroll
    for (int i = 0; i < 2; ++i) of.at[n][i] = __shfl_sync(all_lanes, value, n * 8 + lane_column() + i);
  }
}

// dk, dv [tokens, kv_heads * width]. A block: one tile of keys of one key head; it goes over the queries that see them, head
// after head of the group. 8 width FLOP per visible pair (12 at D = 256). Bound by the tensor cores and by reading q and g
// from shared memory for them; both arrive a tile ahead. Scores are made transposed, [keys, queries], which leaves them in
// the registers in which the products with g and q need them.
template <class T, int D, bool packed>
__global__ void __launch_bounds__(tile_threads) backward_keys(PackedAttention attention, BackwardOperands<T> operands) {
  using Tile = KeysTile<D>;
  constexpr int M = Tile::M, N = Tile::others, C = Tile::C;
  LLAMA_SHARED(T, k_tile);
  T *v_tile = k_tile + Tile::rows * D, *q_tiles = v_tile + Tile::rows * D, *g_tiles = q_tiles + 2 * N * D;

  const auto [slot, kv_head] = longest_keys_first(attention.kv_heads);
  const PackedTile tile = packed_tile(attention, Tile::rows, slot);
  if (tile.first >= tile.length) return;
  const int width = attention.width, lane = static_cast<int>(threadIdx.x) % warp_size;
  const auto place = Tile::place();
  const int key = tile.first + place.row;
  const VisibleRange queries = visible_queries(attention, tile.first, Tile::rows, tile.length);
  const float scale2 = attention.scale * log2_e;

  const int64_t kv_from = tile.begin * operands.ldkv + kv_head * width;
  load_tile<D, Tile::rows, packed>(k_tile, operands.k + kv_from, operands.ldkv, tile.first, tile.length, width);
  load_tile<D, Tile::rows, packed>(v_tile, operands.v + kv_from, operands.ldkv, tile.first, tile.length, width);

  // Asks for the q and g of a step, and returns the terms of a query for each lane.
  const auto fetch = [&](int step, int head, int query) {
    T *q_tile = q_tiles + step % 2 * N * D, *g_tile = g_tiles + step % 2 * N * D;
    const T* q = operands.q + tile.begin * operands.ldq + head * width;
    const T* g = operands.g + tile.begin * operands.ldg + head * width;
    load_tile<D, N, packed>(q_tile, q, operands.ldq, query, tile.length, width);
    load_tile<D, N, packed>(g_tile, g, operands.ldg, query, tile.length, width);
    commit_copies();
    if (lane >= N || query + lane >= tile.length) return QueryTerms{0, 0};
    return operands.terms[head * attention.tokens + tile.begin + query + lane];
  };

  Sums<M, C> dk, dv;
  int head = kv_head * attention.group, query = queries.first, next_query = query;
  const int heads_end = head + attention.group;
  QueryTerms next = fetch(0, head, query);
  for (int step = 0; head < heads_end; ++step) {
    const QueryTerms terms = next;
    query = next_query;
    next_query += N;
    if (next_query >= queries.end) next_query = queries.first, ++head;
    wait_for_copies<0>();
    __syncthreads();  // this step's q and g are here, those of the step before are read
    if (head < heads_end) next = fetch(step + 1, head, next_query);
    const T *q_tile = q_tiles + step % 2 * N * D, *g_tile = g_tiles + step % 2 * N * D;
    const Visibility seen = visibility(attention, query, N, key, 16 * M);
    if (!seen.any || key >= tile.length) continue;

    Sums<M, N> p, ds;
    OfColumns<N> of;
    multiply_rows<D>(p, k_tile, place.row, q_tile);
    lanes_to_columns(of, terms.lse2);
    if (!seen.all) mask_scores<true>(attention, p, key, query);
    each_sum(p, [&](float& score, int, int n, int i) { score = fast_exp2(fmaf(score, scale2, -of.at[n][i % 2])); });
    multiply_rows<D>(ds, v_tile, place.row, g_tile);
    lanes_to_columns(of, terms.delta);
    each_sum(ds, [&](float& product, int m, int n, int i) { product = p.at[m][n][i] * (product - of.at[n][i % 2]); });
    LeftOperand<M, N> left;
    round_to_left<T>(left, p);
    multiply_columns<D>(dv, left, g_tile, place.column);
    round_to_left<T>(left, ds);
    multiply_columns<D>(dk, left, q_tile, place.column);
  }

  __syncthreads();  // k and v are read by both warps that share a row
  sums_to_tile<D>(k_tile, place.row, place.column, dk, [&](int, int) { return attention.scale; });
  sums_to_tile<D>(v_tile, place.row, place.column, dv, [](int, int) { return 1.0f; });
  __syncthreads();
  const int64_t kv_to = tile.begin * operands.lddkv + kv_head * width;
  store_tile<D, Tile::rows, packed>(k_tile, operands.dk + kv_to, operands.lddkv, tile.first, tile.length, width);
  store_tile<D, Tile::rows, packed>(v_tile, operands.dv + kv_to, operands.lddkv, tile.first, tile.length, width);
}

// dq [tokens, heads * width]. A block: one tile of queries of one head; it goes over the keys that they see. 6 width FLOP per
// visible pair (10 at D = 256). Bound like backward_keys; v arrives during the products with k, and k during that with v.
template <class T, int D, bool packed>
__global__ void __launch_bounds__(tile_threads, D > 64 ? 3 : 2)
    backward_queries(PackedAttention attention, BackwardOperands<T> operands) {
  using Tile = QueriesTile<D>;
  constexpr int M = Tile::M, N = Tile::others, C = Tile::C;
  LLAMA_SHARED(T, q_tile);
  T *g_tile = q_tile + Tile::rows * D, *k_tile = g_tile + Tile::rows * D, *v_tile = k_tile + N * D;

  const auto [slot, head] = longest_queries_first(attention.heads);
  const PackedTile tile = packed_tile(attention, Tile::rows, slot);
  if (tile.first >= tile.length) return;
  const int width = attention.width, column = head * width;
  const int64_t kv_from = tile.begin * operands.ldkv + head / attention.group * width;
  const auto place = Tile::place();
  const int query = tile.first + place.row;
  const VisibleRange keys = visible_keys(attention, tile.first, Tile::rows, tile.length);
  const float scale2 = attention.scale * log2_e;

  const T* q = operands.q + tile.begin * operands.ldq + column;
  const T* g = operands.g + tile.begin * operands.ldg + column;
  const T *k = operands.k + kv_from, *v = operands.v + kv_from;
  load_tile<D, Tile::rows, packed>(q_tile, q, operands.ldq, tile.first, tile.length, width);
  load_tile<D, Tile::rows, packed>(g_tile, g, operands.ldg, tile.first, tile.length, width);
  load_tile<D, N, packed>(v_tile, v, operands.ldkv, keys.first, tile.length, width);
  commit_copies();
  QueryTerms terms[M][2];
  for (int m = 0; m < M; ++m) {
    for (int half = 0; half < 2; ++half) {
      const int row = query + m * 16 + half * 8 + lane_row();
      terms[m][half] = row < tile.length ? operands.terms[head * attention.tokens + tile.begin + row] : QueryTerms{0, 0};
    }
  }

  Sums<M, C> dq;
  for (int key = keys.first; key < keys.end; key += N) {
    const Visibility seen = visibility(attention, query, 16 * M, key, N);
    const bool active = seen.any && query < tile.length;
    wait_for_copies<0>();
    __syncthreads();  // v is here, k is read
    load_tile<D, N, packed>(k_tile, k, operands.ldkv, key, tile.length, width);
    commit_copies();
    Sums<M, N> scores, ds;
    if (active) multiply_rows<D>(ds, g_tile, place.row, v_tile);
    wait_for_copies<0>();
    __syncthreads();  // k is here, v is read
    if (key + N < keys.end) load_tile<D, N, packed>(v_tile, v, operands.ldkv, key + N, tile.length, width);
    commit_copies();
    if (!active) continue;

    multiply_rows<D>(scores, q_tile, place.row, k_tile);
    if (!seen.all) mask_scores(attention, scores, query, key);
    each_sum(ds, [&](float& product, int m, int n, int i) {
      const QueryTerms& of = terms[m][i / 2];
      product = fast_exp2(fmaf(scores.at[m][n][i], scale2, -of.lse2)) * (product - of.delta);
    });
    LeftOperand<M, N> left;
    round_to_left<T>(left, ds);
    multiply_columns<D>(dq, left, k_tile, place.column);
  }

  __syncthreads();  // q is read by both warps that share a row
  sums_to_tile<D>(q_tile, place.row, place.column, dq, [&](int, int) { return attention.scale; });
  __syncthreads();
  T* to = operands.dq + tile.begin * operands.lddq + column;
  store_tile<D, Tile::rows, packed>(q_tile, to, operands.lddq, tile.first, tile.length, width);
}

}  // namespace

size_t attention_packed_backward_scratch_bytes(const AttentionShape& shape, int64_t tokens) {
  return static_cast<size_t>(tokens) * static_cast<size_t>(shape.heads) * sizeof(QueryTerms);
}

template <class T>
void attention_packed_backward(cudaStream_t stream, const AttentionShape& shape, const PackedRows& rows, const T* q,
                               int64_t ldq, const T* k, const T* v, int64_t ldkv, const T* o, int64_t ldo,
                               const float* lse, const T* g, int64_t ldg, T* dq, int64_t lddq, T* dk, T* dv,
                               int64_t lddkv, void* scratch) {
  const PackedAttention attention = packed_attention_of(shape, rows);
  auto* terms = static_cast<QueryTerms*>(scratch);
  attention_query_terms(stream, attention, o, ldo, g, ldg, lse, terms);
  const BackwardOperands<T> operands{q, k, v, g, terms, dq, dk, dv, ldq, ldkv, ldg, lddq, lddkv};
  const auto in_chunks = [&](const T* pointer, int64_t ld) { return packable(pointer, ld, shape.head_dim, chunk); };
  const bool packed = in_chunks(q, ldq) && in_chunks(k, ldkv) && in_chunks(v, ldkv) && in_chunks(g, ldg) &&
                      in_chunks(dq, lddq) && in_chunks(dk, lddkv) && in_chunks(dv, lddkv);
  with_tile_width(shape.head_dim, [&](auto width) {
    constexpr int D = width;
    const int64_t key_blocks = packed_slots(attention, KeysTile<D>::rows) * shape.kv_heads;
    const int64_t query_blocks = packed_slots(attention, QueriesTile<D>::rows) * shape.heads;
    launch(packed ? backward_keys<T, D, true> : backward_keys<T, D, false>, Grid{key_blocks},
           dim3(tile_threads), KeysTile<D>::bytes, stream, attention, operands);
    launch(packed ? backward_queries<T, D, true> : backward_queries<T, D, false>, Grid{query_blocks},
           dim3(tile_threads), QueriesTile<D>::bytes, stream, attention, operands);
  });
}

#define LLAMA_INSTANTIATE(T)                                                                                             \
  template void attention_packed_backward(cudaStream_t, const AttentionShape&, const PackedRows&, const T*, int64_t,     \
                                          const T*, const T*, int64_t, const T*, int64_t, const float*, const T*,        \
                                          int64_t, T*, int64_t, T*, T*, int64_t, void*);
LLAMA_INSTANTIATE(Bf16)
LLAMA_INSTANTIATE(Half)

}  // namespace llama::cuda

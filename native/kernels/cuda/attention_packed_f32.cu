// Attention over packed rows in float32, forward and backward, by FMA: for small models and for checking. Tiles and sums are
// split as on tensor cores (attention_packed_forward.cu, attention_packed_backward.cu): a warp owns a few rows of its block's
// tile and goes over 32 rows of the other side at a time, one for each lane.
#include "attention_packed.h"
#include "attention_packed_rows.h"

namespace llama::cuda {

namespace {

constexpr int warps = 4, threads = warps * warp_size, others = warp_size;

// E: columns of a row's sums that a lane has, `lane + 32 e`. R: rows that a warp has.
template <int E>
constexpr int R = E <= 4 ? 4 : 2;
template <int E>
constexpr int tile_rows = warps * R<E>;

struct F32Operands {
  const float *q, *k, *v, *g;
  const QueryTerms* terms;  // [heads, tokens]
  float *o, *lse, *dq, *dk, *dv;
  int64_t ldq, ldkv, ldo, ldg, lddq, lddkv;
};

__device__ inline int lane_of() { return static_cast<int>(threadIdx.x) % warp_size; }
__device__ inline int warp_of() { return static_cast<int>(threadIdx.x) / warp_size; }

// Rows [first, first + count), those below `end`, to shared memory, with `gap` elements between; zeros for the rest. Whole
// block, between two barriers.
template <int count, int gap = 0>
__device__ inline void load_rows(float* to, const float* from, int64_t ld, int first, int end, int width) {
  __syncthreads();
  for (int row = warp_of(); row < count; row += warps) {
    for (int i = lane_of(); i < width; i += warp_size) {
      to[row * (width + gap) + i] = first + row < end ? from[(first + row) * ld + i] : 0;
    }
  }
  __syncthreads();
}

// Rows of the other side are width + 1 apart, an odd number: neither lanes in a column nor lanes in a row meet in a bank.
__device__ inline void load_other(float* to, const float* from, int64_t ld, int first, int end, int width) {
  load_rows<others, 1>(to, from, ld, first, end, width);
}

// Products of the warp's rows with the lane's row of the other side.
template <int rows>
__device__ inline void dot_rows(float (&sums)[rows], const float* own, const float* other, int width) {
  const float* row = other + lane_of() * (width + 1);
  for (int r = 0; r < rows; ++r) sums[r] = 0;
  for (int i = 0; i < width; ++i) {
    for (int r = 0; r < rows; ++r) sums[r] += own[r * width + i] * row[i];
  }
}

// sums [rows, width] += weights [rows, 32] other [32, width]
template <int rows, int E>
__device__ inline void add_weighted(float (&sums)[rows][E], const float* weights, const float* other, int width) {
  for (int j = 0; j < others; ++j) {
    for (int e = 0; e < E; ++e) {
      const int column = lane_of() + e * warp_size;
      const float x = column < width ? other[j * (width + 1) + column] : 0;
      for (int r = 0; r < rows; ++r) sums[r][e] += weights[r * others + j] * x;
    }
  }
}

template <int rows, int E, class Factor>
__device__ inline void store_sums(float* to, int64_t ld, const float (&sums)[rows][E], int first, int end, int width, Factor factor) {
  for (int r = 0; r < rows && first + r < end; ++r) {
    for (int e = 0; e < E; ++e) {
      const int column = lane_of() + e * warp_size;
      if (column < width) to[(first + r) * ld + column] = sums[r][e] * factor(r);
    }
  }
}

// A block: tile_rows<E> queries of one head. 4 width FLOP per visible pair; bound by reading shared memory for them.
template <int E>
__global__ void __launch_bounds__(threads, 4) forward(PackedAttention attention, F32Operands operands) {
  constexpr int rows = R<E>;
  const int width = attention.width;
  LLAMA_SHARED(float, q_rows);
  float *other = q_rows + tile_rows<E> * width, *weights = other + others * (width + 1) + warp_of() * rows * others;
  const auto [slot, head] = longest_queries_first(attention.heads);
  const PackedTile tile = packed_tile(attention, tile_rows<E>, slot);
  if (tile.first >= tile.length) return;
  const int query = tile.first + warp_of() * rows;
  const int64_t kv_from = tile.begin * operands.ldkv + head / attention.group * width;
  const VisibleRange keys = visible_keys(attention, tile.first, tile_rows<E>, tile.length);
  const float scale2 = attention.scale * log2_e;
  const float* q = operands.q + tile.begin * operands.ldq + head * width;
  load_rows<tile_rows<E>>(q_rows, q, operands.ldq, tile.first, tile.length, width);

  float sums[rows][E] = {}, highest[rows], total[rows] = {};  // total: of the lane's keys
  for (float& value : highest) value = unseen;
  for (int key = keys.first; key < keys.end; key += others) {
    float scores[rows];
    load_other(other, operands.k + kv_from, operands.ldkv, key, tile.length, width);
    dot_rows(scores, q_rows + warp_of() * rows * width, other, width);
    for (int r = 0; r < rows; ++r) {
      const float score = visible(attention, query + r, key + lane_of()) ? scores[r] * scale2 : unseen;
      const float now = fmaxf(highest[r], warp_max(score));
      const float factor = highest[r] == unseen ? 0 : exp2f(highest[r] - now);
      const float weight = score == unseen ? 0 : exp2f(score - now);
      highest[r] = now;
      total[r] = total[r] * factor + weight;
      for (int e = 0; e < E; ++e) sums[r][e] *= factor;
      weights[r * others + lane_of()] = weight;
    }
    load_other(other, operands.v + kv_from, operands.ldkv, key, tile.length, width);
    add_weighted(sums, weights, other, width);
  }
  for (int r = 0; r < rows; ++r) {
    total[r] = warp_sum(total[r]);
    if (lane_of() != 0 || query + r >= tile.length) continue;
    float* lse = operands.lse + static_cast<int64_t>(tile.begin + query + r) * attention.heads + head;
    *lse = (highest[r] + log2f(total[r])) * ln_2;
  }
  float* o = operands.o + tile.begin * operands.ldo + head * width;
  store_sums(o, operands.ldo, sums, query, tile.length, width, [&](int r) { return 1 / total[r]; });
}

// A block: dk and dv of tile_rows<E> keys of one key head. 8 width FLOP per visible pair.
template <int E>
__global__ void __launch_bounds__(threads, 4) backward_keys(PackedAttention attention, F32Operands operands) {
  constexpr int rows = R<E>;
  const int width = attention.width;
  LLAMA_SHARED(float, k_rows);
  float *v_rows = k_rows + tile_rows<E> * width, *other = v_rows + tile_rows<E> * width;
  float* p = other + others * (width + 1) + warp_of() * 2 * rows * others;
  float* ds = p + rows * others;
  const auto [slot, kv_head] = longest_keys_first(attention.kv_heads);
  const PackedTile tile = packed_tile(attention, tile_rows<E>, slot);
  if (tile.first >= tile.length) return;
  const int key = tile.first + warp_of() * rows;
  const int64_t kv_from = tile.begin * operands.ldkv + kv_head * width, kv_to = tile.begin * operands.lddkv + kv_head * width;
  const VisibleRange queries = visible_queries(attention, tile.first, tile_rows<E>, tile.length);
  const float scale2 = attention.scale * log2_e;
  load_rows<tile_rows<E>>(k_rows, operands.k + kv_from, operands.ldkv, tile.first, tile.length, width);
  load_rows<tile_rows<E>>(v_rows, operands.v + kv_from, operands.ldkv, tile.first, tile.length, width);

  float dk[rows][E] = {}, dv[rows][E] = {};
  for (int head = kv_head * attention.group; head < (kv_head + 1) * attention.group; ++head) {
    const float* q = operands.q + tile.begin * operands.ldq + head * width;
    const float* g = operands.g + tile.begin * operands.ldg + head * width;
    for (int query = queries.first; query < queries.end; query += others) {
      const int own = query + lane_of();
      const QueryTerms terms = own < tile.length ? operands.terms[head * attention.tokens + tile.begin + own] : QueryTerms{0, 0};
      float scores[rows], products[rows];
      load_other(other, g, operands.ldg, query, tile.length, width);
      dot_rows(products, v_rows + warp_of() * rows * width, other, width);
      load_other(other, q, operands.ldq, query, tile.length, width);
      dot_rows(scores, k_rows + warp_of() * rows * width, other, width);
      for (int r = 0; r < rows; ++r) {
        const float weight = visible(attention, own, key + r) ? exp2f(scores[r] * scale2 - terms.lse2) : 0;
        p[r * others + lane_of()] = weight;
        ds[r * others + lane_of()] = weight * (products[r] - terms.delta);
      }
      __syncwarp();
      add_weighted(dk, ds, other, width);
      load_other(other, g, operands.ldg, query, tile.length, width);
      add_weighted(dv, p, other, width);
    }
  }
  store_sums(operands.dk + kv_to, operands.lddkv, dk, key, tile.length, width, [&](int) { return attention.scale; });
  store_sums(operands.dv + kv_to, operands.lddkv, dv, key, tile.length, width, [](int) { return 1.0f; });
}

// A block: dq of tile_rows<E> queries of one head. 6 width FLOP per visible pair.
template <int E>
__global__ void __launch_bounds__(threads, 4) backward_queries(PackedAttention attention, F32Operands operands) {
  constexpr int rows = R<E>;
  const int width = attention.width;
  LLAMA_SHARED(float, q_rows);
  float *g_rows = q_rows + tile_rows<E> * width, *other = g_rows + tile_rows<E> * width;
  float* ds = other + others * (width + 1) + warp_of() * rows * others;
  const auto [slot, head] = longest_queries_first(attention.heads);
  const PackedTile tile = packed_tile(attention, tile_rows<E>, slot);
  if (tile.first >= tile.length) return;
  const int query = tile.first + warp_of() * rows;
  const int64_t kv_from = tile.begin * operands.ldkv + head / attention.group * width;
  const VisibleRange keys = visible_keys(attention, tile.first, tile_rows<E>, tile.length);
  const float scale2 = attention.scale * log2_e;
  const float* q = operands.q + tile.begin * operands.ldq + head * width;
  const float* g = operands.g + tile.begin * operands.ldg + head * width;
  load_rows<tile_rows<E>>(q_rows, q, operands.ldq, tile.first, tile.length, width);
  load_rows<tile_rows<E>>(g_rows, g, operands.ldg, tile.first, tile.length, width);

  float dq[rows][E] = {};
  for (int key = keys.first; key < keys.end; key += others) {
    float scores[rows], products[rows];
    load_other(other, operands.v + kv_from, operands.ldkv, key, tile.length, width);
    dot_rows(products, g_rows + warp_of() * rows * width, other, width);
    load_other(other, operands.k + kv_from, operands.ldkv, key, tile.length, width);
    dot_rows(scores, q_rows + warp_of() * rows * width, other, width);
    for (int r = 0; r < rows; ++r) {
      float weight = 0;
      if (query + r < tile.length && visible(attention, query + r, key + lane_of())) {
        const QueryTerms terms = operands.terms[head * attention.tokens + tile.begin + query + r];
        weight = exp2f(scores[r] * scale2 - terms.lse2) * (products[r] - terms.delta);
      }
      ds[r * others + lane_of()] = weight;
    }
    __syncwarp();
    add_weighted(dq, ds, other, width);
  }
  float* to = operands.dq + tile.begin * operands.lddq + head * width;
  store_sums(to, operands.lddq, dq, query, tile.length, width, [&](int) { return attention.scale; });
}

// Calls use(std::integral_constant<int, E>) for a head_dim.
template <class Use>
void with_columns(int head_dim, Use use) {
  if (head_dim <= 32) return use(std::integral_constant<int, 1>{});
  if (head_dim <= 64) return use(std::integral_constant<int, 2>{});
  if (head_dim <= 128) return use(std::integral_constant<int, 4>{});
  use(std::integral_constant<int, 8>{});
}

// Shared memory for `sides` matrices of a tile's rows, 32 rows of the other side, and `weights` matrices between the two.
template <int E>
void launch_tiles(cudaStream_t stream, void (*kernel)(PackedAttention, F32Operands), int heads, int sides, int weights,
                  const PackedAttention& attention, const F32Operands& operands) {
  const int own = sides * tile_rows<E> * attention.width, other = others * (attention.width + 1);
  const size_t bytes = static_cast<size_t>(own + other + weights * tile_rows<E> * others) * sizeof(float);
  launch(kernel, Grid{packed_slots(attention, tile_rows<E>) * heads}, dim3(threads), bytes, stream, attention, operands);
}

}  // namespace

template <>
void attention_packed<float>(cudaStream_t stream, const AttentionShape& shape, const PackedRows& rows, const float* q,
                             int64_t ldq, const float* k, const float* v, int64_t ldkv, float* o, int64_t ldo, float* lse) {
  const PackedAttention attention = packed_attention_of(shape, rows);
  F32Operands operands{};
  operands.q = q, operands.k = k, operands.v = v, operands.o = o, operands.lse = lse;
  operands.ldq = ldq, operands.ldkv = ldkv, operands.ldo = ldo;
  with_columns(shape.head_dim, [&](auto columns) {
    constexpr int E = columns;
    launch_tiles<E>(stream, forward<E>, shape.heads, 1, 1, attention, operands);
  });
}

template <>
void attention_packed_backward<float>(cudaStream_t stream, const AttentionShape& shape, const PackedRows& rows,
                                      const float* q, int64_t ldq, const float* k, const float* v, int64_t ldkv,
                                      const float* o, int64_t ldo, const float* lse, const float* g, int64_t ldg,
                                      float* dq, int64_t lddq, float* dk, float* dv, int64_t lddkv, void* scratch) {
  const PackedAttention attention = packed_attention_of(shape, rows);
  auto* terms = static_cast<QueryTerms*>(scratch);
  attention_query_terms(stream, attention, o, ldo, g, ldg, lse, terms);
  const F32Operands operands{q, k, v, g, terms, nullptr, nullptr, dq, dk, dv, ldq, ldkv, 0, ldg, lddq, lddkv};
  with_columns(shape.head_dim, [&](auto columns) {
    constexpr int E = columns;
    launch_tiles<E>(stream, backward_keys<E>, shape.kv_heads, 2, 2, attention, operands);
    launch_tiles<E>(stream, backward_queries<E>, shape.heads, 2, 1, attention, operands);
  });
}

}  // namespace llama::cuda

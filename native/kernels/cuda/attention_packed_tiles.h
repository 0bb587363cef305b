// Tiles of q, k, v and their gradients in shared memory, and products of them on tensor cores.
//
// A tile is [rows][D] of 16-bit elements, head_dim filled up to D with zeros. Rows are cut into chunks of 16 bytes, and a
// row's chunks change places so that eight rows of one matrix lie in different banks without padding between them.
#pragma once
#include "attention_packed_rows.h"
#include "tensor_core.h"

namespace llama::cuda {

constexpr int tile_warps = 4, tile_threads = tile_warps * warp_size;
constexpr int chunk = 8;  // elements

// Of the chunks that a thread copies, so many are asked for together. More would take registers that hold sums; where copies
// are not asynchronous, fewer would leave memory idle.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
constexpr int copies_at_once = 4;
#else
constexpr int copies_at_once = 2;
#endif

// Of so many neighbouring chunks each row has its own order.
template <int D>
constexpr int exchanged = D / chunk % 8 == 0 ? 8 : D / chunk % 4 == 0 ? 4 : 2;

// Where element (row, column) of a tile lies; column is the first of a chunk.
template <int D>
__device__ inline int tile_index(int row, int column) {
  static_assert(D / chunk % exchanged<D> == 0);
  return row * D + ((column / chunk) ^ (row / (8 / exchanged<D>) % exchanged<D>)) * chunk;
}

// Rows [first, first + rows) of a matrix, those below `end` and their columns below `width`, become a tile; the rest is zero.
// `packed`: rows can be read in chunks, and are, asynchronously. Whole block.
template <int D, int rows, bool packed, class T>
__device__ inline void load_tile(T* tile, const T* from, int64_t ld, int first, int end, int width) {
  constexpr int chunks = D / chunk;
  static_assert(rows * chunks % tile_threads == 0);
#pragma unroll (packed ? copies_at_once : 1)
  for (int begin = 0; begin < rows * chunks; begin += tile_threads) {
    const int index = begin + static_cast<int>(threadIdx.x), row = index / chunks, column = index % chunks * chunk;
    const bool exists = first + row < end && column < width;
    const T* source = from + (first + row) * ld + column;
    T* to = tile + tile_index<D>(row, column);
    if constexpr (packed) {
      copy_16(to, source, exists);
    } else {
      Pack<T, chunk> pack;
      for (int i = 0; i < chunk; ++i) pack.at[i] = exists && column + i < width ? source[i] : T{0};
      store_pack(to, pack);
    }
  }
}

// The way back.
template <int D, int rows, bool packed, class T>
__device__ inline void store_tile(const T* tile, T* to, int64_t ld, int first, int end, int width) {
  constexpr int chunks = D / chunk;
#pragma unroll (packed ? 4 : 1)
  for (int begin = 0; begin < rows * chunks; begin += tile_threads) {
    const int index = begin + static_cast<int>(threadIdx.x), row = index / chunks, column = index % chunks * chunk;
    if (first + row >= end || column >= width) continue;
    const auto pack = load_pack<T, chunk>(tile + tile_index<D>(row, column));
    T* target = to + (first + row) * ld + column;
    if constexpr (packed) {
      store_pack(target, pack);
    } else {
      for (int i = 0; i < chunk && column + i < width; ++i) target[i] = pack.at[i];
    }
  }
}

// The first row and column of an accumulator that a lane has.
__device__ inline int lane_row() { return static_cast<int>(threadIdx.x) % warp_size / 4; }
__device__ inline int lane_column() { return static_cast<int>(threadIdx.x) % 4 * 2; }

// Sums of products as mma_16x8x16 leaves them: [16 M, N]. Element i of [m][n] is row 16 m + lane_row() + 8 (i / 2), column
// 8 n + lane_column() + i % 2.
template <int M, int N>
struct Sums {
  float at[M][N / 8][4] = {};
};

// Calls use(element, m, n, i) for each.
template <int M, int N, class Use>
__device__ inline void each_sum(Sums<M, N>& sums, Use use) {
#pragma unroll
  for (int m = 0; m < M; ++m) {
#pragma unroll
    for (int n = 0; n < N / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) use(sums.at[m][n][i], m, n, i);
    }
  }
}

// Scores [16 M, N] of queries from `row` on and keys from `column` on; transposed: of keys and queries.
template <bool transposed = false, int M, int N>
__device__ inline void mask_scores(const PackedAttention& attention, Sums<M, N>& scores, int row, int column) {
  each_sum(scores, [&](float& score, int m, int n, int i) {
    const int left = row + m * 16 + i / 2 * 8 + lane_row(), right = column + n * 8 + lane_column() + i % 2;
    score = visible(attention, transposed ? right : left, transposed ? left : right) ? score : unseen;
  });
}

// [16 M, N] as the left operand of a product over N.
template <int M, int N>
struct LeftOperand {
  uint32_t at[M][N / 16][4];
};

template <class T, int M, int N>
__device__ inline void round_to_left(LeftOperand<M, N>& left, const Sums<M, N>& sums) {
#pragma unroll
  for (int m = 0; m < M; ++m) {
#pragma unroll
    for (int n = 0; n < N / 8; ++n) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        left.at[m][n / 2][n % 2 * 2 + half] = pair_of<T>(sums.at[m][n][half * 2], sums.at[m][n][half * 2 + 1]);
      }
    }
  }
}

// first, second [16, 8] += a [16, 16] b [16, 16], half of b each.
template <class T>
__device__ inline void multiply_16x16x16(float (&first)[4], float (&second)[4], const uint32_t (&a)[4], const uint32_t (&b)[4]) {
  const uint32_t b_first[2] = {b[0], b[1]}, b_second[2] = {b[2], b[3]};
  mma_16x8x16<T>(first, a, b_first);
  mma_16x8x16<T>(second, a, b_second);
}

// Where a lane finds its row of the four matrices of 16 rows and 16 columns that begin at (row, column), multiples of 16, of a
// tile: `offset` is tile_index of the same place among the first 16 rows and columns.
template <int D, class T>
__device__ inline const T* matrix_row(const T* tile, int offset, int row, int column) {
  constexpr int columns = exchanged<D> * chunk;
  return tile + row * D + column / columns * columns + (offset ^ (column % columns));
}

// x, worked on where it is used: addresses made of it are not kept in registers over a loop.
__device__ inline int here(int x) {
#if defined(__CUDA_ARCH__)
  asm volatile("" : "+r"(x));
#endif
  return x;
}

// sums [16 M, N] += a bᵀ        a: rows [row, row + 16 M) of a tile; b: rows [0, N) of another
template <int D, int M, int N, class T>
__device__ inline void multiply_rows(Sums<M, N>& sums, const T* a_tile, int row, const T* b_tile) {
  const int lane = static_cast<int>(threadIdx.x) % warp_size;
  const int a_offset = here(tile_index<D>(lane % 16, lane / 16 * chunk));
  const int b_offset = here(tile_index<D>(lane / 16 * 8 + lane % 8, lane / 8 % 2 * chunk));
  a_tile += row * D;
#pragma unroll
  for (int column = 0; column < D; column += 16) {
    uint32_t a[M][4], b[4];
#pragma unroll
    for (int m = 0; m < M; ++m) load_matrices(a[m], matrix_row<D>(a_tile, a_offset, m * 16, column));
#pragma unroll
    for (int n = 0; n < N; n += 16) {
      load_matrices(b, matrix_row<D>(b_tile, b_offset, n, column));
#pragma unroll
      for (int m = 0; m < M; ++m) multiply_16x16x16<T>(sums.at[m][n / 8], sums.at[m][n / 8 + 1], a[m], b);
    }
  }
}

// sums [16 M, C] += a b        a [16 M, N]; b: rows [0, N), columns [column, column + C) of a tile
template <int D, int M, int N, int C, class T>
__device__ inline void multiply_columns(Sums<M, C>& sums, const LeftOperand<M, N>& a, const T* b_tile, int column) {
  const int lane = static_cast<int>(threadIdx.x) % warp_size;
  const int b_offset = here(tile_index<D>(lane % 16, lane / 16 * chunk));
  b_tile += column;
#pragma unroll
  for (int n = 0; n < N; n += 16) {
#pragma unroll
    for (int c = 0; c < C; c += 16) {
      uint32_t b[4];
      load_matrices<true>(b, matrix_row<D>(b_tile, b_offset, n, c));
#pragma unroll
      for (int m = 0; m < M; ++m) multiply_16x16x16<T>(sums.at[m][c / 8], sums.at[m][c / 8 + 1], a.at[m][n / 16], b);
    }
  }
}

// Rows [row, row + 16 M), columns [column, column + C) of a tile = sums * factor, where factor(m, half) is that of the lane's
// rows 16 m + 8 half.
template <int D, int M, int C, class T, class Factor>
__device__ inline void sums_to_tile(T* tile, int row, int column, const Sums<M, C>& sums, Factor factor) {
#pragma unroll
  for (int m = 0; m < M; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float by = factor(m, half);
#pragma unroll
      for (int n = 0; n < C / 8; ++n) {
        const float* of = sums.at[m][n] + half * 2;
        T* to = tile + tile_index<D>(row + m * 16 + half * 8 + lane_row(), column + n * 8) + lane_column();
        store_pack(to, Pack<T, 2>{{from_float<T>(of[0] * by), from_float<T>(of[1] * by)}});
      }
    }
  }
}

// 2^x, 0 where that is below the smallest normal number.
__device__ inline float fast_exp2(float x) {
#if defined(__CUDA_ARCH__)
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
#else
  return exp2f(x);
#endif
}

// Calls use(std::integral_constant<int, D>) with the tile width for a head_dim.
template <class Use>
inline void with_tile_width(int head_dim, Use use) {
  if (head_dim <= 64) return use(std::integral_constant<int, 64>{});
  if (head_dim <= 96) return use(std::integral_constant<int, 96>{});
  if (head_dim <= 128) return use(std::integral_constant<int, 128>{});
  use(std::integral_constant<int, 256>{});
}

}  // namespace llama::cuda

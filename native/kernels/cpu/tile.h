// The inner kernel of every product: a tile C[rows, kPanel] += A[rows, depth] B[depth, kPanel] with all sums in registers.
// Per step of depth: 2 vector loads of B, `rows` broadcasts of A and 2 * rows FMAs, so with kTileRows rows the FMA units
// are the limit. A sum runs over depth in order, whatever `rows` is: a token's result does not depend on its batch.
#pragma once
#include <array>
#include <utility>

#include "vec.h"

namespace llama {
namespace {

// A[r, k] = data[r * row + k * step]. With `pairs` a "float" of A and B holds two bf16.
struct Left {
  const float* data;
  int64_t row;
  int64_t step;
};

// C = alpha * sum + beta * C; C is not read where beta is 0.
struct Target {
  float* data;
  int64_t ld;
  int cols;  // 1..kPanel; the others are not touched
  float alpha;
  float beta;
};

template <bool pairs>
inline Vec multiply_add(Vec a, Vec b, Vec c) {
#if defined(LLAMA_BF16_DOT)
  if constexpr (pairs) return dot_pairs(a, b, c);
#endif
  return fma(a, b, c);
}

template <int rows, bool pairs>
void tile(Left a, const float* b, int64_t b_step, int64_t depth, const Target& c) {
  Vec sums[rows][2];
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r) sums[r][0] = sums[r][1] = zero();
  const float* left[rows];
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r) {
    left[r] = a.data + r * a.row;
    prefetch(c.data + r * c.ld);  // wanted after the sums
  }
  int64_t at = 0;
  for (int64_t k = 0; k < depth; ++k, b += b_step, at += a.step) {
    const Vec b0 = load(b), b1 = load(b + kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
      const Vec x = set1(left[r][at]);
      sums[r][0] = multiply_add<pairs>(x, b0, sums[r][0]);
      sums[r][1] = multiply_add<pairs>(x, b1, sums[r][1]);
    }
  }
  const Vec alpha = set1(c.alpha), beta = set1(c.beta);
  if (c.cols == kPanel) {
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
      float* to = c.data + r * c.ld;
      for (int half = 0; half < 2; ++half) {
        const Vec old = c.beta == 0 ? zero() : mul(beta, load(to + half * kLanes));
        store(to + half * kLanes, fma(alpha, sums[r][half], old));
      }
    }
    return;
  }
  const int first = c.cols < kLanes ? c.cols : kLanes, second = c.cols - first;
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r) {
    float* to = c.data + r * c.ld;
    const Vec old0 = c.beta == 0 ? zero() : mul(beta, load_first(to, first));
    store_first(to, fma(alpha, sums[r][0], old0), first);
    if (second == 0) continue;
    const Vec old1 = c.beta == 0 ? zero() : mul(beta, load_first(to + kLanes, second));
    store_first(to + kLanes, fma(alpha, sums[r][1], old1), second);
  }
}

using Tile = void (*)(Left, const float*, int64_t, int64_t, const Target&);

// The kernel for 1..kTileRows rows.
template <bool pairs>
inline Tile tile_of(int rows) {
  static constexpr auto table = []<int... index>(std::integer_sequence<int, index...>) {
    return std::array<Tile, sizeof...(index)>{&tile<index + 1, pairs>...};
  }(std::make_integer_sequence<int, kTileRows>());
  return table[rows - 1];
}

// to[k * step + r] = from[r * ld + k] for r < rows, 0 for rows <= r < width; k < depth. Nothing else is touched.
inline void transpose_into(const float* from, int64_t ld, int64_t rows, int64_t depth, float* to, int64_t step, int width) {
  for (int64_t k = 0; k < depth; k += kLanes) {
    const int deep = static_cast<int>(depth - k < kLanes ? depth - k : kLanes);
    for (int first = 0; first < width; first += kLanes) {
      const int lanes = width - first < kLanes ? width - first : kLanes;
      Vec block[kLanes];
      for (int r = 0; r < kLanes; ++r) {
        block[r] = r < lanes && first + r < rows ? load_lanes(from + (first + r) * ld + k, deep) : zero();
      }
      transpose(block);
      float* target = to + k * step + first;
      for (int i = 0; i < deep; ++i) store_lanes(target + i * step, block[i], lanes);
    }
  }
}

// C[rows, n] over all of n in panels; B[k, j] = b[(j / kPanel) * b_panel + k * b_step + j % kPanel].
inline void multiply_panels(Left a, int64_t rows, const float* b, int64_t b_panel, int64_t b_step, int64_t n, int64_t depth, float* c, int64_t ldc, float alpha, float beta) {
  for (int64_t r = 0; r < rows; r += kTileRows) {
    const int height = static_cast<int>(rows - r < kTileRows ? rows - r : kTileRows);
    const Tile run = tile_of<false>(height);
    for (int64_t j = 0; j < n; j += kPanel) {
      const int cols = static_cast<int>(n - j < kPanel ? n - j : kPanel);
      run({a.data + r * a.row, a.row, a.step}, b + j / kPanel * b_panel, b_step, depth, {c + r * ldc + j, ldc, cols, alpha, beta});
    }
  }
}

}  // namespace
}  // namespace llama

// Rows of T as float32, a pack at a time, and the grid that gives every pack of every row a thread.
#pragma once
#include <algorithm>
#include <type_traits>

#include "device.h"

namespace llama::cuda {

// N elements, read and written in packs of at most 16 bytes.
template <int N, class T>
__device__ inline void load_floats(const T* from, float (&to)[N]) {
  constexpr int each = N < pack_width<T> ? N : pack_width<T>;
  for (int first = 0; first < N; first += each) {
    const auto pack = load_pack<T, each>(from + first);
    for (int i = 0; i < each; ++i) to[first + i] = to_float(pack.at[i]);
  }
}

template <int N, class T>
__device__ inline void store_floats(T* to, const float (&from)[N]) {
  constexpr int each = N < pack_width<T> ? N : pack_width<T>;
  for (int first = 0; first < N; first += each) {
    Pack<T, each> pack;
    for (int i = 0; i < each; ++i) pack.at[i] = from_float<T>(from[first + i]);
    store_pack<T, each>(to + first, pack);
  }
}

// Calls body with the pack's width as a constant: N where memory allows packs, else 1.
template <int N, class Body>
inline void by_packs(bool packed, Body body) {
  if (packed) {
    body(std::integral_constant<int, N>{});
  } else {
    body(std::integral_constant<int, 1>{});
  }
}

// Threads along x share a row, y has the rows of a block. Rows are on the grid's x, the only one without a limit of 65,535;
// a row's packs are on its y and, where they are more than that holds, on its z.
struct RowGrid {
  Grid grid;
  dim3 block;
};

inline RowGrid row_grid(int64_t rows, int64_t packs) {
  constexpr int64_t threads = 256;
  const int64_t across = std::min<int64_t>((packs + warp_size - 1) / warp_size * warp_size, threads);
  if (across == 0) return {{0}, dim3(warp_size)};
  const int64_t down = threads / across, blocks = blocks_for(packs, across), layers = blocks_for(blocks, most_blocks_y);
  return {{blocks_for(rows, down), blocks_for(blocks, layers), layers}, dim3(static_cast<unsigned>(across), static_cast<unsigned>(down))};
}

struct RowPlace {
  int64_t row, pack;
};

__device__ inline RowPlace row_place() {
  const int64_t across = int64_t{blockIdx.z} * gridDim.y + blockIdx.y;
  return {int64_t{blockIdx.x} * blockDim.y + threadIdx.y, across * blockDim.x + threadIdx.x};
}

}  // namespace llama::cuda

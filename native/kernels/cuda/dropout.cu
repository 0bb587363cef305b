#include "dropout.h"

#include "packs.h"
#include "philox.h"

namespace llama::cuda {
namespace {

__device__ inline bool keeps(uint32_t word, float p) { return static_cast<float>(word >> 8) * 0x1p-24f >= p; }

// x, y [rows, cols]: 2 * sizeof(T) bytes an element, and 20 wide multiplications per 4 elements; bound by memory. A pack is
// whole groups of 4 where cols is a multiple of 4; otherwise every element draws its group's words for itself.
template <class T, int N>
__global__ void dropout_kernel(const T* x, int64_t ldx, T* y, int64_t ldy, int64_t rows, int64_t cols, float p, float scale, uint64_t seed, uint32_t step, uint32_t module) {
  const auto [row, pack] = row_place();
  if (row >= rows || pack >= cols / N) return;
  constexpr int together = N < 4 ? N : 4;
  const auto element = static_cast<uint64_t>(row * cols + pack * N);
  float values[N];
  load_floats(x + row * ldx + pack * N, values);
  for (int first = 0; first < N; first += together) {
    const uint64_t group = (element + static_cast<uint64_t>(first)) / 4;
    const PhiloxBlock words = philox_block({{static_cast<uint32_t>(group), static_cast<uint32_t>(group >> 32), module, step}}, seed);
    for (int i = 0; i < together; ++i) {
      uint32_t word = words.at[i];
      if constexpr (N == 1) {
        const auto place = static_cast<int>(element % 4);
        word = place == 0 ? words.at[0] : place == 1 ? words.at[1] : place == 2 ? words.at[2] : words.at[3];
      }
      values[first + i] = keeps(word, p) ? values[first + i] * scale : 0.0f;
    }
  }
  store_floats(y + row * ldy + pack * N, values);
}

}  // namespace

template <class T>
void dropout(cudaStream_t stream, const T* x, int64_t ldx, T* y, int64_t ldy, int64_t rows, int64_t cols, float p, uint64_t seed, uint32_t step, uint32_t module) {
  constexpr int most = pack_width<T>;
  by_packs<most>(packable(x, ldx, cols, most) && packable(y, ldy, cols, most), [&](auto n) {
    const auto [grid, block] = row_grid(rows, cols / n);
    launch(dropout_kernel<T, n>, grid, block, 0, stream, x, ldx, y, ldy, rows, cols, p, 1.0f / (1.0f - p), seed, step, module);
  });
}

template void dropout(cudaStream_t, const float*, int64_t, float*, int64_t, int64_t, int64_t, float, uint64_t, uint32_t, uint32_t);
template void dropout(cudaStream_t, const Bf16*, int64_t, Bf16*, int64_t, int64_t, int64_t, float, uint64_t, uint32_t, uint32_t);
template void dropout(cudaStream_t, const Half*, int64_t, Half*, int64_t, int64_t, int64_t, float, uint64_t, uint32_t, uint32_t);

}  // namespace llama::cuda

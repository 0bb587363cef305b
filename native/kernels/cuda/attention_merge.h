// How parts of an attention become one: those of a block's warps, and those of several blocks.
//
// A part is, for each row, the largest score m (in powers of two), the sum l of 2^(score - m) and the sum o of values
// weighted with them; a part that sees nothing has m = -infinity. Sums are always in the order of the positions, so
// that a result does not depend on which block is last.
#pragma once
#include <cmath>

#include "attention_cached_kernels.h"

namespace llama::cuda {

// Weight of a part with largest score m among parts with largest score `most`.
__device__ inline float weight_of(float m, float most) { return m == -INFINITY ? 0.0f : exp2f(m - most); }

// Parts in scratch memory: m and l [parts][2], then o [parts][width], whole packs of four floats.
struct Parts {
  float* statistics;
  float* o;
  int width;

  static constexpr int width_of(int head_dim) { return (head_dim + 3) / 4 * 4; }
  static constexpr size_t bytes(int64_t parts, int head_dim) {
    return static_cast<size_t>((parts * 2 + 3) / 4 * 4 + parts * width_of(head_dim)) * sizeof(float);
  }
  __host__ __device__ Parts(void* scratch, int64_t parts, int head_dim)
      : statistics(static_cast<float*>(scratch)),
        o(statistics + (parts * 2 + 3) / 4 * 4),
        width((head_dim + 3) / 4 * 4) {}
};

// Whether this block is the last of `blocks` to come here; what the others wrote before is visible then. The counter is
// 0 again after the last one, ready for the next layer. `last`: in shared memory.
__device__ inline bool comes_last(unsigned* counter, int blocks, int* last) {
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    const auto others = static_cast<unsigned>(blocks - 1);
    *last = atomicInc(counter, others) == others ? 1 : 0;
    __threadfence();
  }
  __syncthreads();
  return *last != 0;
}

}  // namespace llama::cuda

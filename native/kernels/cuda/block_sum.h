// Sums over a block in float64, in an order that does not depend on timing.
#pragma once
#include "device.h"

namespace llama::cuda {

// For blocks of whole warps. The sum is thread 0's only. `scratch`: 32 doubles of shared memory, free after the next barrier.
__device__ inline double block_sum_double(double value, double* scratch) {
  const int lane = static_cast<int>(threadIdx.x) % warp_size, warp = static_cast<int>(threadIdx.x) / warp_size;
  const int warps = static_cast<int>(blockDim.x) / warp_size;
  for (int offset = warp_size / 2; offset > 0; offset /= 2) value += __shfl_down_sync(all_lanes, value, offset);
  if (lane == 0) scratch[warp] = value;
  __syncthreads();
  if (threadIdx.x > 0) return 0;
  double sum = 0;
  for (int i = 0; i < warps; ++i) sum += scratch[i];
  return sum;
}

}  // namespace llama::cuda

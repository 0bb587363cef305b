// A meeting of all blocks of a grid in two halves: a block arrives, does what needs no other, and then waits for all. The grid
// is no larger than the blocks that a card holds at once. Should others hold the places of some of them, those who wait
// give up after a while and go on alone, so that nobody waits for ever.
#pragma once
#include "device.h"

namespace llama::cuda {

// In device memory, zeros before and after every launch. Launches that follow one another may share it.
struct Meeting {
  unsigned arrived, left;
};

// What the block has written until now can be read by all after the meeting. By all threads of a block.
__device__ inline void arrive(Meeting* meeting) {
  __syncthreads();
  if (threadIdx.x != 0) return;
#if defined(LLAMA_CUDA_EMULATED)
  if (::emulated::grid.has_met) return;
#endif
  __threadfence();
  atomicAdd(&meeting->arrived, 1u);
}

// Whether all have arrived; by all threads of a block, once.
__device__ inline bool wait_for_all(Meeting* meeting) {
  __shared__ bool complete;
#if defined(LLAMA_CUDA_EMULATED)
  ::emulated::meet();
#endif
  if (threadIdx.x == 0) {
    const auto all_here = [&] { return *static_cast<volatile unsigned*>(&meeting->arrived) == gridDim.x; };
#if defined(__CUDA_ARCH__)
    constexpr long long patience = 1 << 22;  // cycles: milliseconds
    const long long start = clock64();
    while (!all_here() && clock64() - start < patience) {
    }
#endif
    complete = all_here();
    __threadfence();
    // The last one to leave: nobody reads `arrived` any more.
    if (atomicAdd(&meeting->left, 1u) == gridDim.x - 1) *meeting = {0, 0};
  }
  __syncthreads();
  return complete;
}

}  // namespace llama::cuda

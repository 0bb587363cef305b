// A meeting of all blocks of a grid in two halves: a block arrives, does what needs no other, and then waits for all. The grid
// is no larger than the blocks that a card holds at once, and a block arrives before it waits, so that none waits for one
// that has no place (Marlin's products meet the same way).
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

// By all threads of a block, once.
__device__ inline void wait_for_all(Meeting* meeting) {
#if defined(LLAMA_CUDA_EMULATED)
  ::emulated::meet();
  if (meeting->arrived != gridDim.x) ::emulated::fail("a block waits for one that does not arrive");
  __syncthreads();
#endif
  if (threadIdx.x == 0) {
    while (*static_cast<volatile unsigned*>(&meeting->arrived) < gridDim.x) {
    }
    __threadfence();
    // Nobody reads `arrived` any more.
    if (atomicAdd(&meeting->left, 1u) == gridDim.x - 1) *meeting = {0, 0};
  }
  __syncthreads();
}

}  // namespace llama::cuda

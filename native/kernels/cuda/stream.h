// Loads of what is read once, and requests for what is read soon.
#pragma once
#include "device.h"

namespace llama::cuda {

// 8 or 16 bytes of weights, aligned to their size: they displace nothing from the first-level cache.
template <int words>
__device__ inline Pack<uint32_t, words> stream_words(const void* from) {
  Pack<uint32_t, words> pack;
#if defined(__CUDA_ARCH__)
  if constexpr (words == 4) {
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
                 : "=r"(pack.at[0]), "=r"(pack.at[1]), "=r"(pack.at[2]), "=r"(pack.at[3])
                 : "l"(from));
  } else {
    static_assert(words == 2);
    asm volatile("ld.global.nc.L1::no_allocate.v2.u32 {%0,%1}, [%2];" : "=r"(pack.at[0]), "=r"(pack.at[1]) : "l"(from));
  }
#else
  pack = *static_cast<const Pack<uint32_t, words>*>(from);
#endif
  return pack;
}

// Asks for the 32 bytes there, into the second-level cache.
__device__ inline void prefetch(const void* from) {
#if defined(__CUDA_ARCH__)
  asm volatile("prefetch.global.L2 [%0];" : : "l"(from));
#else
  (void)from;
#endif
}

}  // namespace llama::cuda

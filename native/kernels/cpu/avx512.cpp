// Compiled with -mavx512f -mavx512bw -mavx512vl -mavx512dq and what avx2.cpp has.
#define LLAMA_AVX512
#include "../implementations.h"
#include "simd_ops.h"

namespace llama {

std::unique_ptr<Ops> make_avx512_ops(int threads) { return std::make_unique<SimdOps>(threads); }

}  // namespace llama

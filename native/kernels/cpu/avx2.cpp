// Compiled with -mavx2 -mfma -mf16c.
#include "../implementations.h"
#include "simd_ops.h"

namespace llama {

std::unique_ptr<Ops> make_avx2_ops(int threads) { return std::make_unique<SimdOps>(threads); }

}  // namespace llama

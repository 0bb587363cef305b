// As avx512.cpp, with -mavx512bf16: products with bf16 weights run twice as fast on activations rounded to bf16.
#define LLAMA_AVX512
#define LLAMA_BF16_DOT
#include "../implementations.h"
#include "simd_ops.h"

namespace llama {

std::unique_ptr<Ops> make_avx512_bf16_ops(int threads) { return std::make_unique<SimdOps>(threads); }

}  // namespace llama

// kernels/cpu/avx512.cpp on SIMDe's portable intrinsics, for processors without AVX-512.
#define LLAMA_EMULATE_AVX512
#define make_avx512_ops make_emulated_ops
#include "../kernels/cpu/avx512.cpp"

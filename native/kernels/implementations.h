// The implementations the registry chooses from. Each SIMD one lives in a file compiled for its instruction set alone.
#pragma once
#include <memory>

#include "ops.h"

namespace llama {

std::unique_ptr<Ops> make_reference_ops(int threads);
std::unique_ptr<Ops> make_avx2_ops(int threads);
std::unique_ptr<Ops> make_avx512_ops(int threads);
std::unique_ptr<Ops> make_avx512_bf16_ops(int threads);  // products of bf16 weights by vdpbf16ps

}  // namespace llama

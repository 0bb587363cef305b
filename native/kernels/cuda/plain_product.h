// Products that the library has no kernel for, at any size and alignment; slow.
#pragma once
#include "gemm.h"
#include "runtime.h"

namespace llama::cuda {

void plain_product(cudaStream_t stream, const Gemm::Product& product);

}  // namespace llama::cuda

// y = x * keep / (1 - p) with the masks of ../dropout.h, bit for bit. May be done in place.
#pragma once
#include "device.h"

namespace llama::cuda {

template <class T>
void dropout(cudaStream_t stream, const T* x, int64_t ldx, T* y, int64_t ldy, int64_t rows, int64_t cols, float p, uint64_t seed, uint32_t step, uint32_t module);

}  // namespace llama::cuda

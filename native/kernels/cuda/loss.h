// Cross-entropy of rows of logits against one target each, and its gradient: what ops.h says of cross_entropy.
#pragma once
#include "device.h"

namespace llama::cuda {

// `row_losses`: scratch of `rows` floats. `loss` in device memory.
template <class T>
void cross_entropy(cudaStream_t stream, float* logits, int64_t ld, int64_t rows, int64_t vocab, const int32_t* targets, float gradient_scale, T* gradient, int64_t ldg, double* loss, float* row_losses);

}  // namespace llama::cuda

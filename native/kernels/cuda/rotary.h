// The heads of q, k and v between their product and attention: what ops.h says of rope and rope_backward.
#pragma once
#include "../ops.h"
#include "device.h"

namespace llama::cuda {

template <class T>
void rope(cudaStream_t stream, const AttentionShape& shape, const Rotary& rotary, const T* x, int64_t ldx, int64_t tokens, T* y, int64_t ldy);

template <class T>
void rope_backward(cudaStream_t stream, const AttentionShape& shape, const Rotary& rotary, const T* x, int64_t ldx, int64_t tokens, T* g, int64_t ldg);

}  // namespace llama::cuda

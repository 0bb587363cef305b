// RMSNorm (Zhang and Sennrich, 2019) of the float32 residual stream, and its gradient: what ops.h says of them.
#pragma once
#include "device.h"

namespace llama::cuda {

template <class T>
void rms_norm(cudaStream_t stream, const float* x, int64_t ldx, const float* w, float eps, int64_t tokens, int64_t width, T* y, int64_t ldy, float* inverse_rms);

template <class T>
void rms_norm_backward(cudaStream_t stream, const T* g, int64_t ldg, const float* x, int64_t ldx, const float* w, const float* inverse_rms, int64_t tokens, int64_t width, float* dx, int64_t lddx);

}  // namespace llama::cuda

// Operations on the rows of activations that have no sums: what ops.h says of the operations of the same names.
#pragma once
#include "device.h"

namespace llama::cuda {

// table [vocab, width] of E: float, Bf16 or Half
template <class E>
void embed(cudaStream_t stream, const E* table, int64_t width, const int32_t* ids, int64_t tokens, float* x, int64_t ldx);

template <class T>
void swiglu(cudaStream_t stream, const T* gate, const T* up, int64_t ld, int64_t tokens, int64_t width, T* h, int64_t ldh);

template <class T>
void swiglu_backward(cudaStream_t stream, const T* dh, int64_t lddh, const T* gate, const T* up, int64_t ld, int64_t tokens, int64_t width, T* d_gate, T* d_up, int64_t ldd);

template <class T>
void add(cudaStream_t stream, const T* x, int64_t ldx, T* y, int64_t ldy, int64_t tokens, int64_t width);

template <class T>
void cast(cudaStream_t stream, const float* x, int64_t ldx, T* y, int64_t ldy, int64_t rows, int64_t width);

void gather_rows(cudaStream_t stream, const float* from, const int32_t* rows, int64_t count, int64_t width, float* to);
void scatter_rows(cudaStream_t stream, const float* from, const int32_t* rows, int64_t count, int64_t width, float* to);

}  // namespace llama::cuda

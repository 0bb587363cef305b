// The norm of the gradient and AdamW: what ops.h says of sum_squares and adamw.
#pragma once
#include "../ops.h"
#include "device.h"

namespace llama::cuda {

size_t sum_squares_scratch_bytes(int64_t n);

// *result = sum x², summed in float64; `result` in device memory. `scratch`: sum_squares_scratch_bytes(n), aligned for doubles.
void sum_squares(cudaStream_t stream, const float* x, int64_t n, double* result, void* scratch);

// Where `copy` is not null it is given the new parameters, rounded to T: what the next step's products read.
template <class T>
void adamw(cudaStream_t stream, float* parameter, const float* gradient, float* m, float* v, int64_t n, const AdamW& settings, T* copy);

inline void adamw(cudaStream_t stream, float* parameter, const float* gradient, float* m, float* v, int64_t n, const AdamW& settings) {
  adamw<float>(stream, parameter, gradient, m, v, n, settings, nullptr);
}

}  // namespace llama::cuda

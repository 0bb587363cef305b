// Products of some dozens of tokens with quantised weights: too many for decode_linear, too few to be worth a dequantised
// copy of the matrix. Weights in 16 bits go to cuBLASLt.
#pragma once
#include "decode_linear.h"

namespace llama::cuda {

constexpr int most_batch_tokens = 64;

// Device memory that batch_linear needs beside its arguments.
size_t batch_linear_scratch_bytes(const QuantizedView& w, int tokens, const DeviceLimits& limits);

// y[t, o] (+)= sum_k x[t, k] W[o, k] for up to 64 tokens; T is Bf16 or Half. False, and nothing done, where cols is no
// multiple of 64 or x no multiple of 16 bytes from row to row: the caller dequantises then.
template <class T>
bool batch_linear(cudaStream_t stream, const QuantizedView& w, const T* x, int64_t ldx, int tokens,
                  const ProductOutput<T>& output, const DeviceLimits& limits, void* scratch);

}  // namespace llama::cuda

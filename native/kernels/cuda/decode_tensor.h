// Products of 1 to 8 tokens of 16 bits with frozen weights, on tensor cores: the tokens are the eight columns that an
// instruction has anyway, so that eight cost what one costs.
#pragma once
#include "decode_linear.h"

namespace llama::cuda {

// With the terms, if there are any. False, and nothing done, where the weights are laid out so that they cannot be read in packs.
template <class T>
bool decode_tensor(cudaStream_t stream, const WeightView& w, const DecodeInput<T>& input, const DecodeTerms<T>& terms, int tokens,
                   const ProductOutput<T>& output, const DeviceLimits& limits);

}  // namespace llama::cuda

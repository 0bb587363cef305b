// The low-rank terms of several adapters added to one product, each row with its own adapter: shrink u = x Aᵀ, then expand
// y += scale u Bᵀ. Launches depend on what the host knows of all adapters of a pass only (rows, ranks, width), never on which
// row has which, so that a recording serves every mix of them.
#pragma once
#include <cstddef>
#include <cstdint>

#include "../ops.h"
#include "runtime.h"

namespace llama::cuda {

// The adapter of one row: the terms of place p are terms[p * stride .. + stride), those of rank 0 are not there. Null: no adapter.
template <class T>
struct alignas(16) LoraRow {
  const LoraTerm<T>* terms = nullptr;
  int64_t stride = 0;
};

// Each term's part of u begins at a multiple of 8.
constexpr int lora_rank_unit = 8;
__host__ __device__ constexpr int64_t padded_rank(int rank) { return (rank + lora_rank_unit - 1) / lora_rank_unit * lora_rank_unit; }

// u [tokens, ranks] is float32, 16-byte aligned; ranks: a multiple of 8, at least the sum of padded ranks of a place in any
// adapter.
inline size_t lora_scratch_bytes(int64_t tokens, int64_t ranks) {
  return static_cast<size_t>(tokens) * static_cast<size_t>(ranks) * sizeof(float);
}

// u = x Aᵀ for the rows' adapters. u is not written where a row has no adapter or its adapter no such rank.
template <class T>
void lora_shrink(cudaStream_t stream, const LoraRow<T>* rows, int place, const T* x, int64_t ldx, int64_t tokens,
                 int64_t ranks, float* u);

// y += scale u Bᵀ, y [tokens, width]: width is at least the end of the last column of a term in any adapter. Y: T or float.
template <class T, class Y>
void lora_expand(cudaStream_t stream, const LoraRow<T>* rows, int place, const float* u, int64_t ranks, int64_t tokens,
                 int64_t width, Y* y, int64_t ldy);

}  // namespace llama::cuda

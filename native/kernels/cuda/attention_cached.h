// Serving attention over pages of keys and values.
#pragma once
#include "attention_plan.h"
#include "device.h"

namespace llama::cuda {

// Does to every planned row of qkv, in place, what BasicOps::rope does and writes its k and v to its page.
template <class T>
void rotate_and_store(cudaStream_t stream, const AttentionShape& shape, int layer, const Rotary& rotary, T* qkv,
                      int64_t ldqkv, int64_t tokens, const PlanView& plan);

// For plans within `bounds`.
size_t attention_cached_scratch_bytes(const AttentionShape& shape, const AttentionBounds& bounds);

// o[row] = softmax(scale q kᵀ) v over positions 0 .. own (the last `window` of them) of every planned row. q and o may
// not overlap. `scratch` is 16-byte aligned.
template <class T>
void attention_cached(cudaStream_t stream, const AttentionShape& shape, int layer, const T* q, int64_t ldq, T* o,
                      int64_t ldo, const PlanView& plan, void* scratch);

}  // namespace llama::cuda

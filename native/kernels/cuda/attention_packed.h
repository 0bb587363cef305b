// Attention over packed rows for training, without a score matrix: block-diagonal, causal, optionally in a sliding window,
// with grouped query heads (Dao, "FlashAttention-2", 2023). Every result is a sum in one fixed order: the same bits each run.
//
// q, o, g, dq: [tokens, heads * head_dim]; k, v, dk, dv: [tokens, kv_heads * head_dim]; leading dimensions in elements.
// rows.offsets lies in device memory; rows may be empty. head_dim is even and at most 256.
#pragma once
#include "device.h"

namespace llama::cuda {

// o = softmax(scale q kᵀ) v; lse [tokens, heads] = log-sum-exp of the scaled scores.
template <class T>
void attention_packed(cudaStream_t stream, const AttentionShape& shape, const PackedRows& rows, const T* q, int64_t ldq,
                      const T* k, const T* v, int64_t ldkv, T* o, int64_t ldo, float* lse);

// dq, dk, dv from g = d(loss)/d(o); overwritten, and none of them may be memory that is read. scratch is 8-byte aligned.
template <class T>
void attention_packed_backward(cudaStream_t stream, const AttentionShape& shape, const PackedRows& rows, const T* q,
                               int64_t ldq, const T* k, const T* v, int64_t ldkv, const T* o, int64_t ldo,
                               const float* lse, const T* g, int64_t ldg, T* dq, int64_t lddq, T* dk, T* dv,
                               int64_t lddkv, void* scratch);
size_t attention_packed_backward_scratch_bytes(const AttentionShape& shape, int64_t tokens);

// float32 is for small models and for checking: FMA instead of tensor cores.
template <>
void attention_packed<float>(cudaStream_t stream, const AttentionShape& shape, const PackedRows& rows, const float* q,
                             int64_t ldq, const float* k, const float* v, int64_t ldkv, float* o, int64_t ldo, float* lse);
template <>
void attention_packed_backward<float>(cudaStream_t stream, const AttentionShape& shape, const PackedRows& rows,
                                      const float* q, int64_t ldq, const float* k, const float* v, int64_t ldkv,
                                      const float* o, int64_t ldo, const float* lse, const float* g, int64_t ldg,
                                      float* dq, int64_t lddq, float* dk, float* dv, int64_t lddkv, void* scratch);

}  // namespace llama::cuda

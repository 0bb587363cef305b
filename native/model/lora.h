// The low-rank terms of one layer's linears that read the same input (Hu et al. 2021, "LoRA"), in training.
// x [tokens, in], y and g [tokens, outputs of the group side by side], u = dropout(x) Aᵀ [tokens, rank of the group].
#pragma once
#include <cstdint>

#include "adapter.h"
#include "ops.h"

namespace llama {

template <class T>
struct LoraScratch {
  T* u;        // [tokens, rank], written by forward and read by backward
  T* du;       // [tokens, rank]; backward only
  T* dropped;  // [tokens, in]; with dropout only
};

// y += scale * u Bᵀ, where Y is T or, on the residual stream, float; where y is null only u is computed.
template <class T, class Y>
void lora_forward(const Adapter<T>& adapter, const AdapterGroup& group, const Dropout& dropout, const T* x, int64_t ldx,
                  int64_t tokens, Y* y, int64_t ldy, const LoraScratch<T>& scratch);

// Adds to `gradients` (laid out as the adapter's parameters) and, where not null, to dx.
//   du = scale * g B     dB += scale * gᵀ u     dA += duᵀ dropout(x)     dx += mask * (du A)
template <class T>
void lora_backward(const Adapter<T>& adapter, const AdapterGroup& group, const Dropout& dropout, const T* g,
                   int64_t ldg, const T* x, int64_t ldx, int64_t tokens, float* gradients, T* dx, int64_t lddx,
                   const LoraScratch<T>& scratch);

}  // namespace llama

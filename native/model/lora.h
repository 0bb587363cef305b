// The low-rank terms of one layer's linears that read the same input (Hu et al. 2021, "LoRA").
// x [tokens, in], y and g [tokens, outputs of the group side by side], u = dropout(x) Aᵀ [tokens, rank of the group].
#pragma once
#include <cstdint>

#include "adapter.h"
#include "ops.h"

namespace llama {

// A separate mask for each module's input, a function of (seed, step, layer * 7 + linear, row, column).
struct Dropout {
  float probability = 0;
  uint64_t seed = 0;
  uint32_t step = 0;
};

struct LoraScratch {
  float* u;        // [tokens, rank], written by forward and read by backward
  float* du;       // [tokens, rank]; backward only
  float* dropped;  // [tokens, in]; with dropout only
};

// y += scale * u Bᵀ
void lora_forward(Ops& ops, const Adapter& adapter, const LlamaConfig& config, const AdapterGroup& group,
                  const Dropout& dropout, const float* x, int64_t ldx, int64_t tokens, float* y, int64_t ldy,
                  const LoraScratch& scratch);

// Adds to `gradients` (laid out as the adapter's parameters) and, where not null, to dx.
//   du = scale * g B     dB += scale * gᵀ u     dA += duᵀ dropout(x)     dx += mask * (du A)
void lora_backward(Ops& ops, const Adapter& adapter, const LlamaConfig& config, const AdapterGroup& group,
                   const Dropout& dropout, const float* g, int64_t ldg, const float* x, int64_t ldx, int64_t tokens,
                   float* gradients, float* dx, int64_t lddx, const LoraScratch& scratch);

}  // namespace llama

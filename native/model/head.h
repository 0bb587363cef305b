// The final norm and the language model's head, only for the rows that need logits.
#pragma once
#include <cstdint>
#include <vector>

#include "buffer.h"
#include "model.h"

namespace llama {

template <class T>
struct HeadBuffers {
  Buffer<float> rows, logits, gradient, inverse_rms;
  Buffer<T> normed, dlogits;
  Buffer<int32_t> indices, targets;
  Buffer<double> loss;
};

// logits [rows.size(), vocab] of the given rows of h [.., hidden], in buffers.logits.
template <class T>
float* head_logits(Model<T>& model, const float* h, const std::vector<int32_t>& rows, HeadBuffers<T>& buffers);

// Sum of the cross-entropies (nats) of the rows with targets >= 0 (host), without ever holding [tokens, vocab] logits:
// chunk by chunk the logits become their own gradient. Where dh [tokens, hidden] is not null it is overwritten with
// gradient_scale * d(sum of losses) / dh.
template <class T>
double head_loss(Model<T>& model, const float* h, const std::vector<int32_t>& targets, float gradient_scale, float* dh,
                 HeadBuffers<T>& buffers);
// Bytes that head_loss takes.
template <class T>
int64_t head_loss_bytes(const BasicOps<T>& ops, const LlamaConfig& config);

}  // namespace llama

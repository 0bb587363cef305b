// The final norm and the language model's head, only for the rows that need logits.
#pragma once
#include <cstdint>
#include <vector>

#include "float_buffer.h"
#include "model.h"

namespace llama {

struct HeadBuffers {
  FloatBuffer rows, normed, logits, gradient, inverse_rms;
  std::vector<int32_t> targets;
};

// logits [rows.size(), vocab] of the given rows of h [.., hidden].
void head_logits(Model& model, const float* h, const std::vector<int64_t>& rows, float* logits, HeadBuffers& buffers);

// Sum of the cross-entropies (nats) of the rows with targets >= 0, without ever holding [tokens, vocab] logits: chunk
// by chunk the logits become their own gradient. Where dh [tokens, hidden] is not null it is overwritten with
// gradient_scale * d(sum of losses) / dh.
double head_loss(Model& model, const float* h, const int32_t* targets, int64_t tokens, float gradient_scale, float* dh,
                 HeadBuffers& buffers);
// Bytes that head_loss takes.
int64_t head_loss_bytes(const LlamaConfig& config);

}  // namespace llama

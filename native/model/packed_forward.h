// Forward over whole rows without a cache and without keeping anything for a backward pass: evaluation and checks.
#pragma once
#include <vector>

#include "adapter.h"
#include "buffer.h"
#include "head.h"
#include "packed_batch.h"

namespace llama {

template <class T>
struct PackedBuffers {
  Buffer<float> h, lse;
  Buffer<T> qkv, attention, gate_up, normed, activated;
  Buffer<int32_t> tokens, positions, offsets;
  HeadBuffers<T> head;

  // Without the head's.
  static int64_t bytes_per_token(const LlamaConfig& config) {
    return (config.hidden + config.heads) * static_cast<int64_t>(sizeof(float)) +
           (config.qkv_width() + config.q_width() + 3 * config.intermediate + config.hidden) * static_cast<int64_t>(sizeof(T));
  }
  int64_t bytes() const {
    return static_cast<int64_t>(h.bytes() + lse.bytes() + qkv.bytes() + attention.bytes() + gate_up.bytes() +
                                normed.bytes() + activated.bytes());
  }
};

// The last layer's output [tokens, hidden], in buffers.h.
template <class T>
const float* packed_forward(Model<T>& model, const PackedBatch& batch, const Adapter<T>* adapter,
                            PackedBuffers<T>& buffers);

// [tokens, vocab] (host)
template <class T>
std::vector<float> packed_logits(Model<T>& model, const PackedBatch& batch, const Adapter<T>* adapter);

}  // namespace llama

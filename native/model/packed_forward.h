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
};

// The last layer's output [tokens, hidden], in buffers.h.
template <class T>
const float* packed_forward(Model<T>& model, const PackedBatch& batch, const Adapter<T>* adapter,
                            PackedBuffers<T>& buffers);

// [tokens, vocab] (host)
template <class T>
std::vector<float> packed_logits(Model<T>& model, const PackedBatch& batch, const Adapter<T>* adapter);

}  // namespace llama

// Everything one micro-batch keeps for its backward pass, in one allocation whose size is known before it is made.
#pragma once
#include <cstdint>
#include <vector>

#include "adapter.h"
#include "buffer.h"
#include "layer.h"
#include "llama_config.h"

namespace llama {

// The lowest adapted place: nothing below it needs a gradient.
struct LowestModule {
  int layer;
  LinearGroup group;
};
LowestModule lowest_module(const AdapterLayout& adapter);

// Scratch of the backward pass, [tokens, ...] each.
template <class T>
struct BackwardRows {
  float* dh;      // [hidden]: gradient of the residual stream
  T* rounded_dh;  // [hidden]: the same as products read it; dh itself where T is float
  T* dnormed;     // [hidden]
  T* dactivated;  // [intermediate]
  T* dattention;  // [q width]
  T* dqkv;        // [qkv width]
  T* du;          // [largest rank of a group]
};

// What an allocation is for.
struct MicroBatch {
  int64_t tokens;
  bool dropout;
  int checkpointed_layers;  // from the lowest adapted layer on: only their inputs are kept (Chen et al. 2016)
};

template <class T>
class Activations {
 public:
  static int64_t bytes_for(const LlamaConfig& config, const AdapterLayout& adapter, const MicroBatch& batch);

  // Throws EngineError OUT_OF_MEMORY with the size. Grows only.
  void prepare(Device& device, const LlamaConfig& config, const AdapterLayout& adapter, const MicroBatch& batch);

  // Layers below the lowest adapted one share one set of arrays, in place; so do the checkpointed ones, but for their
  // inputs.
  LayerRows<T> layer(int layer) const;
  bool is_checkpointed(int layer) const { return layer < lowest_.layer + checkpointed_layers_; }
  const float* final_hidden() const { return rows_.back().output; }
  float* lse(int layer) const;  // [tokens, heads]
  const BackwardRows<T>& backward() const { return backward_; }
  const LowestModule& lowest() const { return lowest_; }
  size_t bytes() const { return arena_.bytes(); }

 private:
  int64_t lay_out(unsigned char* base, const LlamaConfig& config, const AdapterLayout& adapter,
                  const MicroBatch& batch);

  Buffer<unsigned char> arena_;
  LowestModule lowest_{};
  int checkpointed_layers_ = 0;
  std::vector<LayerRows<T>> rows_;  // from lowest_.layer on
  std::vector<float*> lse_;
  BackwardRows<T> backward_{};
};

}  // namespace llama

// Everything one micro-batch keeps for its backward pass, in one allocation whose size is known before it is made.
#pragma once
#include <cstdint>
#include <vector>

#include "adapter.h"
#include "float_buffer.h"
#include "layer.h"
#include "llama_config.h"

namespace llama {

// The lowest adapted place: nothing below it needs a gradient.
struct LowestModule {
  int layer;
  LinearGroup group;
};
LowestModule lowest_module(const Adapter& adapter);

// Scratch of the backward pass, [tokens, ...] each.
struct BackwardRows {
  float* dh;          // [hidden]: gradient of the residual stream
  float* dnormed;     // [hidden]
  float* dactivated;  // [intermediate]
  float* dattention;  // [q width]
  float* dqkv;        // [qkv width]
  float* du;          // [largest rank of a group]
};

class Activations {
 public:
  // Throws EngineError OUT_OF_MEMORY with the size. Grows only.
  void prepare(const LlamaConfig& config, const Adapter& adapter, int64_t tokens, bool dropout);

  // Layers below the lowest adapted one share one set of arrays, in place.
  LayerRows layer(int layer) const;
  const float* final_hidden() const { return rows_.back().output; }
  float* lse(int layer) const;  // [tokens, heads]
  const BackwardRows& backward() const { return backward_; }
  const LowestModule& lowest() const { return lowest_; }

 private:
  FloatBuffer arena_;
  LowestModule lowest_{};
  std::vector<LayerRows> rows_;  // from lowest_.layer on
  std::vector<float*> lse_;
  BackwardRows backward_{};
};

}  // namespace llama

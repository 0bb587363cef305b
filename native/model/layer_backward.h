// One decoder layer's backward pass: gradients of its adapter modules, and of its input where something below needs it.
#pragma once
#include <cstdint>

#include "activations.h"
#include "model.h"

namespace llama {

struct BackwardPass {
  Model& model;
  const Adapter& adapter;
  const Activations& activations;
  const Dropout& dropout;
  int64_t tokens;
  const int32_t* offsets;  // [rows + 1]
  int64_t rows;
  const int32_t* positions;  // [tokens]
  const float* cos_sin;
  float* gradients;  // laid out as the adapter's parameters; added to
};

// activations.backward().dh holds the gradient of the layer's output before and of its input after; in the lowest
// adapted layer it stops as soon as the last module has its gradient. The layer's gate_up is overwritten.
void layer_backward(const BackwardPass& pass, int layer);

}  // namespace llama

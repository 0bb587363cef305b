// One decoder layer's backward pass: gradients of its adapter modules, and of its input where something below needs it.
#pragma once
#include <cstdint>

#include "activations.h"
#include "model.h"

namespace llama {

template <class T>
struct BackwardPass {
  Model<T>& model;
  const Adapter<T>& adapter;
  const Activations<T>& activations;
  const Dropout& dropout;
  PackedRows rows;
  const int32_t* positions;  // [tokens]
  const float* cos_sin;
  float* gradients;  // laid out as the adapter's parameters; added to
};

// activations.backward().dh holds the gradient of the layer's output before and of its input after; in the lowest
// adapted layer it stops as soon as the last module has its gradient. The layer's gate_up is overwritten.
template <class T>
void layer_backward(const BackwardPass<T>& pass, int layer);

}  // namespace llama

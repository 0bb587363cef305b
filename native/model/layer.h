// One decoder layer's forward pass, the same for serving and for training.
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "adapter.h"
#include "lora.h"
#include "model.h"

namespace llama {

// Where a layer's values go, [tokens, ...] each. Serving points input, middle and output at one array; training keeps
// every array of every layer for the backward pass.
struct LayerRows {
  float* input;          // [hidden]; not written unless it is also middle
  float* middle;         // [hidden]: input + attention
  float* output;         // [hidden]: middle + MLP
  float* qkv;            // [qkv width], rotated
  float* attention;      // [q width]
  float* gate_up;        // [2 * intermediate]
  float* inverse_rms1;   // [1] or null
  float* inverse_rms2;   // [1] or null
  float* u[group_count]; // [rank of the group]; may be one array
  float* normed;         // [hidden], scratch
  float* activated;      // [intermediate], scratch
  float* dropped;        // [widest input], scratch with dropout only
};

// Rows [row, row + count) are read with `adapter`.
struct AdapterRows {
  const Adapter* adapter;
  int64_t row;
  int64_t count;
};

// Fills attention [tokens, q width] from qkv.
using Attend = std::function<void(const float* qkv, float* attention)>;

void layer_forward(Model& model, int layer, const LayerRows& rows, int64_t tokens, const int32_t* positions,
                   const float* cos_sin, const std::vector<AdapterRows>& adapters, const Dropout& dropout,
                   const Attend& attend);

}  // namespace llama

// One decoder layer's forward pass, the same for serving and for training.
#pragma once
#include <cstdint>
#include <functional>

#include "adapter.h"
#include "lora.h"
#include "model.h"

namespace llama {

// Where a layer's values go, [tokens, ...] each. Serving points input, middle and output at one array; training keeps
// every array of every layer for the backward pass.
template <class T>
struct LayerRows {
  float* input;         // [hidden]; not written unless it is also middle
  float* middle;        // [hidden]: input + attention
  float* output;        // [hidden]: middle + MLP; null: not computed
  T* qkv;               // [qkv width], rotated unless there is `rotated`
  T* attention;         // [q width]
  T* gate_up;           // [2 * intermediate]
  float* inverse_rms1;  // [1] or null
  float* inverse_rms2;  // [1] or null
  T* u[group_count];    // [rank of the group]; training only
  T* rotated;           // [qkv width], scratch; training with norms of q and k, whose gradient reads what went into them
  T* normed;            // [hidden], scratch
  T* activated;         // [intermediate], scratch
  T* dropped;           // [widest input], scratch with dropout only
};

// Which low-rank terms are added to the linears.
template <class T>
struct Adaptation {
  bool planned = false;                 // those of ops.plan_lora()
  const Adapter<T>* trained = nullptr;  // all rows, leaving u
  Dropout dropout;                      // of `trained`
};

// Rotates and attends: fills attention [tokens, q width] from qkv.
template <class T>
using Attend = std::function<void(T* qkv, T* attention)>;

template <class T>
void layer_forward(Model<T>& model, int layer, const LayerRows<T>& rows, int64_t tokens,
                   const Adaptation<T>& adaptation, const Attend<T>& attend);

}  // namespace llama

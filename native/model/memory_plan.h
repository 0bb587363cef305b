// What a training run will take of a device's memory, known before its first step.
#pragma once
#include <cstdint>

namespace llama {

// Bytes.
struct MemoryPlan {
  int64_t weights = 0;      // held already
  int64_t adapter = 0;      // its parameters
  int64_t optimizer = 0;    // gradients and two moments
  int64_t activations = 0;  // of a micro-batch, with what is not kept computed again
  int64_t workspace = 0;    // of the loss, products, attention and evaluations
  int64_t available = 0;    // for what is not held yet
  int checkpointed_layers = 0;
  int layers = 0;
};

}  // namespace llama

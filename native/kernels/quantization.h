// How the frozen linears' weights are kept. Embedding, norms and head stay as they are in the checkpoint.
#pragma once

namespace llama {

enum class Quantization {
  none,
  int8,  // a scale for each output row
  int4,  // a scale for each 64 weights
  nf4,   // bitsandbytes' 4-bit NormalFloat with doubly quantised scales (Dettmers et al. 2023, "QLoRA")
};

}  // namespace llama

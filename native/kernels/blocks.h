// GGUF's block formats: runs of 32 or 256 weights of a row that share scales. Twin of src/engine/tensors/blocks.ts.
#pragma once
#include <cstdint>

namespace llama {

enum class BlockFormat : uint8_t { none, q4_0, q4_1, q5_0, q5_1, q8_0, q2_k, q3_k, q4_k, q5_k, q6_k };

struct BlockLayout {
  int64_t elements;  // weights in a block
  int64_t bytes;
};
BlockLayout layout_of(BlockFormat format);  // not none

// Weights of whole blocks as float32. Scale times code is exact in float32, so that the only rounding is that of adding a
// minimum: the bits are those of ggml's own reference, whatever the compiler contracts.
void dequantize_blocks(BlockFormat format, const void* blocks, int64_t elements, float* to);

}  // namespace llama

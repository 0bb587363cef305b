// The frozen weights: packed once from the mapped checkpoint, then never written.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "activation.h"
#include "buffer.h"
#include "llama_config.h"
#include "mapped_file.h"
#include "ops.h"

namespace llama {

// Where a tensor's bytes lie: little-endian, row-major, contiguous.
struct TensorSource {
  std::string file;
  int64_t offset = 0;
  StorageType type = StorageType::f32;  // of blocks: float32
  std::vector<int64_t> shape;
  BlockFormat blocks = BlockFormat::none;
  int interleaved_heads = 0;  // as in MatrixSource
};
using TensorSources = std::map<std::string, TensorSource>;

struct LayerWeights {
  Buffer<float> input_norm, post_attention_norm;  // [hidden]
  Buffer<float> qkv_bias;                         // [qkv width], or empty
  Buffer<float> q_norm, k_norm;                   // [head_dim], or empty
  std::unique_ptr<PackedMatrix> linears[group_count];  // by LinearGroup, outputs side by side
};

struct Weights {
  std::unique_ptr<EmbeddingTable> embedding;  // [vocab, hidden]
  std::vector<LayerWeights> layers;
  Buffer<float> final_norm;  // [hidden]
  std::unique_ptr<PackedMatrix> head;
  StorageType type = StorageType::f32;  // of all queries', keys' and values' projections; f32 where they differ
  size_t bytes = 0;
};

// progress: fraction 0..1, called after each layer. Stops with EngineError when `cancelled` becomes true.
// Throws EngineError CHECKPOINT_TENSOR, CHECKPOINT_CORRUPT, OUT_OF_MEMORY naming the tensor.
template <class T>
Weights load_weights(BasicOps<T>& ops, const LlamaConfig& config, const TensorSources& tensors,
                     const std::function<void(double)>& progress, const std::function<bool()>& cancelled);

}  // namespace llama

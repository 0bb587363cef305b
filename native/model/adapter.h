// A LoRA adapter's tensors: float32, one allocation, laid out so that linears with a common input share one product.
#pragma once
#include <cstdint>
#include <vector>

#include "float_buffer.h"
#include "llama_config.h"

namespace llama {

// y += scale * (x Aᵀ) Bᵀ
struct AdapterModule {
  int layer = 0;
  Linear linear = Linear::q;
  int rank = 0;
  float scale = 0;
  int64_t in = 0, out = 0;
  int64_t a = 0;       // [rank, in], element offset in the parameters
  int64_t b = 0;       // [out, rank]
  int64_t column = 0;  // of its x Aᵀ in the group's
};

// The modules of one layer that read the same input; their A are consecutive: one [rank, in] matrix from `a` on.
struct AdapterGroup {
  std::vector<AdapterModule> modules;  // by Linear
  int64_t rank = 0;                    // sum over modules
  int64_t a = 0;
};

class Adapter {
 public:
  struct Tensors {
    int layer;
    Linear linear;
    int rank;
    float scale;
    const float* a;
    int64_t a_length;
    const float* b;
    int64_t b_length;
  };

  // Copies. Throws EngineError ADAPTER_MISMATCH, ENGINE_ARGUMENT naming layer and linear.
  Adapter(const LlamaConfig& config, const std::vector<Tensors>& tensors);

  // In the order given.
  const std::vector<AdapterModule>& modules() const { return modules_; }
  const AdapterGroup& group(int layer, LinearGroup group) const {
    return groups_[static_cast<size_t>(layer * group_count + static_cast<int>(group))];
  }
  float* parameters() const { return parameters_.data(); }
  int64_t parameter_count() const { return parameter_count_; }
  int64_t largest_rank() const { return largest_rank_; }  // of a group

 private:
  std::vector<AdapterModule> modules_;
  std::vector<AdapterGroup> groups_;
  FloatBuffer parameters_;
  int64_t parameter_count_ = 0;
  int64_t largest_rank_ = 0;
};

}  // namespace llama

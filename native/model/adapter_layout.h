// Where an adapter's tensors lie in one array, so that linears with a common input share one product.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "engine.h"
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

class AdapterLayout {
 public:
  // Throws EngineError ADAPTER_MISMATCH, ENGINE_ARGUMENT naming layer and linear.
  AdapterLayout(const LlamaConfig& config, const std::vector<AdapterTensors>& tensors);

  // In the order given.
  const std::vector<AdapterModule>& modules() const { return modules_; }
  const AdapterGroup& group(int layer, LinearGroup group) const {
    return groups_[static_cast<size_t>(place_of(layer, group))];
  }
  int places() const { return static_cast<int>(groups_.size()); }
  const AdapterGroup& at(int place) const { return groups_[static_cast<size_t>(place)]; }
  int64_t parameter_count() const { return parameter_count_; }
  int64_t largest_rank() const { return largest_rank_; }  // of a group

  // A and B of each module from an array laid out so (host).
  std::vector<ModuleTensors> split(const std::vector<float>& values) const;
  // The inverse. Throws EngineError ENGINE_ARGUMENT naming the values and the module whose tensors have another size or hold
  // a number that is not finite.
  std::vector<float> join(const std::vector<ModuleTensors>& modules, const std::string& name) const;

 private:
  std::vector<AdapterModule> modules_;
  std::vector<AdapterGroup> groups_;
  int64_t parameter_count_ = 0;
  int64_t largest_rank_ = 0;
};

}  // namespace llama

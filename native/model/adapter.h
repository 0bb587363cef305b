// A LoRA adapter in a device's memory: float32 parameters, and for 16-bit activations a rounded copy that products read.
#pragma once
#include <cstdint>
#include <memory>
#include <type_traits>
#include <vector>

#include "activation.h"
#include "adapter_layout.h"
#include "buffer.h"
#include "model.h"

namespace llama {

template <class T>
class Adapter final : public EngineAdapter {
 public:
  // Copies the tensors.
  Adapter(std::shared_ptr<Model<T>> model, const std::vector<AdapterTensors>& tensors);

  const Model<T>& model() const { return *model_; }
  const AdapterLayout& layout() const { return layout_; }
  float* parameters() const { return parameters_.data(); }
  // What products read, laid out as the parameters.
  const T* rounded() const {
    if constexpr (std::is_same_v<T, float>) {
      return parameters_.data();
    } else {
      return rounded_.data();
    }
  }
  // After the parameters have changed.
  void round();
  // How often they have.
  uint64_t version() const { return version_; }
  const LoraTable& table() const { return *table_; }

  std::vector<ModuleTensors> read() const override;
  size_t bytes() const override { return parameters_.bytes() + rounded_.bytes(); }

 private:
  std::shared_ptr<Model<T>> model_;
  AdapterLayout layout_;
  Buffer<float> parameters_;
  Buffer<T> rounded_;
  std::unique_ptr<LoraTable> table_;
  uint64_t version_ = 0;
};

}  // namespace llama

// The face of the GPU module (build/native/llama_cuda.so), which is opened at run time: the addon starts without it, without
// a driver and without a card. Both are built together from the same sources by the same compiler.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine.h"
#include "quantization.h"

namespace llama {

struct GpuCard {
  int index = 0;
  std::string name;
  int major = 0, minor = 0;  // compute capability
  int64_t memory = 0;        // bytes
  int64_t available = 0;     // bytes
};

struct GpuProbe {
  std::vector<GpuCard> cards;  // usable ones
  std::string problem;         // why there is none: "no NVIDIA driver found", "driver 550 found, 580 needed"
};

struct GpuOptions {
  int card = 0;
  // Of activations; f32 weights ask for f32, and cards without bf16 get f16. Empty: as the weights.
  std::string dtype;  // "", "float32", "bfloat16", "float16"
  Quantization quantization = Quantization::none;  // of the layers' linears
};

class GpuModule {
 public:
  virtual ~GpuModule() = default;
  virtual GpuProbe probe() = 0;
  virtual std::shared_ptr<EngineModel> load(const ModelOptions& options, const GpuOptions& gpu,
                                            const LoadProgress& progress) = 0;
};

// What the module exports as "llama_gpu_module". Lives as long as the process.
using GpuModuleEntry = GpuModule* (*)();

}  // namespace llama

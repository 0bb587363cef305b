// What llama_cuda.so exports.
#include "../../model/gpu_module.h"

#include <algorithm>
#include <string>
#include <thread>

#include "../../model/loaded_model.h"
#include "cuda_ops.h"
#include "probe.h"

namespace llama {
namespace {

class CudaModule final : public GpuModule {
 public:
  GpuProbe probe() override {
    const cuda::Probe found = cuda::probe();
    GpuProbe result;
    for (const cuda::Card& card : found.cards) {
      result.cards.push_back({card.index, card.name, card.major, card.minor, static_cast<int64_t>(card.total_bytes),
                              static_cast<int64_t>(card.free_bytes)});
    }
    result.problem = found.reason;
    return result;
  }

  std::shared_ptr<EngineModel> load(const ModelOptions& options, const GpuOptions& gpu,
                                    const LoadProgress& progress) override {
    const cuda::Card card = cuda::choose_card(cuda::probe(), gpu.card);
    const std::string dtype = gpu.dtype.empty() ? dtype_of(options.tensors) : gpu.dtype;
    if (dtype == "float32") return load_as<float>(card, options, gpu, progress);
    // Tensor cores multiply bf16 from compute capability 8.0 on.
    if (dtype == "bfloat16" && card.major >= 8) return load_as<Bf16>(card, options, gpu, progress);
    return load_as<Half>(card, options, gpu, progress);
  }

 private:
  static std::string dtype_of(const TensorSources& tensors) {
    const auto query = tensors.find("model.layers.0.self_attn.q_proj.weight");
    // Blocks have fewer bits than either 16-bit type; bf16 has the range that the model was made for.
    if (query != tensors.end() && query->second.blocks != BlockFormat::none) return "bfloat16";
    if (query == tensors.end() || query->second.type == StorageType::f32) return "float32";
    return query->second.type == StorageType::bf16 ? "bfloat16" : "float16";
  }

  template <class T>
  static std::shared_ptr<EngineModel> load_as(const cuda::Card& card, const ModelOptions& options,
                                              const GpuOptions& gpu, const LoadProgress& progress) {
    cuda::CudaSettings settings;
    settings.quantization = gpu.quantization;
    settings.loading_threads = static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1u, 8u));
    return std::make_shared<LoadedModel<T>>(
        std::make_shared<Model<T>>(std::make_unique<cuda::CudaOps<T>>(card, settings), options, progress));
  }
};

}  // namespace
}  // namespace llama

extern "C" __attribute__((visibility("default"))) llama::GpuModule* llama_gpu_module() {
  static llama::CudaModule module;
  return &module;
}

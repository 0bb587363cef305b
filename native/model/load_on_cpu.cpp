#include "loaded_model.h"

namespace llama {

std::shared_ptr<EngineModel> load_on_cpu(ModelOptions options, const std::string& isa, int threads,
                                         const LoadProgress& progress) {
  return std::make_shared<LoadedModel<float>>(
      std::make_shared<Model<float>>(make_ops(isa, threads), options, progress));
}

}  // namespace llama

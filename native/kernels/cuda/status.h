// Errors of the CUDA runtime as the engine's own. Out of memory says so; anything else names the runtime's word for it.
#pragma once
#include <string>

#include "../engine_error.h"

namespace llama::cuda {

#if defined(LLAMA_CUDA_EMULATED)
using Status = ::cudaError_t;
#else
using Status = cudaError_t;
#endif

// Throws EngineError OUT_OF_MEMORY or DEVICE_FAILED.
inline void check(Status status) {
  if (status == cudaSuccess) return;
  if (status == cudaErrorMemoryAllocation) throw EngineError("OUT_OF_MEMORY", "the GPU has no memory left");
  throw EngineError("DEVICE_FAILED", std::string("the GPU reports: ") + cudaGetErrorString(status));
}

}  // namespace llama::cuda

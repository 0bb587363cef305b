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

// Whether the process's context on the card has gone with the error, so that nothing of this process works there any more.
inline bool is_lost(Status status) {
  switch (status) {
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorContextIsDestroyed:
    case cudaErrorExternalDevice:
    case cudaErrorUnknown:
      return true;
    default:
      return false;
  }
}

// Throws EngineError OUT_OF_MEMORY, DEVICE_LOST or DEVICE_FAILED.
inline void check(Status status) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // said here, and not once more by the next launch
  if (status == cudaErrorMemoryAllocation) throw EngineError("OUT_OF_MEMORY", "the GPU has no memory left");
  throw EngineError(is_lost(status) ? "DEVICE_LOST" : "DEVICE_FAILED", std::string("the GPU reports: ") + cudaGetErrorString(status));
}

}  // namespace llama::cuda

// The CUDA runtime's host functions, for files that hold no kernels: these compile without nvcc.
#pragma once

#if defined(LLAMA_CUDA_EMULATED)
#include "../../test/emulated_cuda.h"
#else
#include <cuda_runtime_api.h>
#endif

#include "status.h"

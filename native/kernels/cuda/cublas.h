// cuBLASLt, opened at run time: one addon starts with and without it. Only its prototypes are needed to compile.
//
// The library is NVIDIA's, under the CUDA Toolkit's licence. It is no part of this project or its packages; whoever builds an
// image or a machine installs it (the wheel nvidia-cublas, the toolkit, or a distribution's package).
#pragma once
#include <cublasLt.h>

#include <string>

#include "shared_library.h"

namespace llama::cuda {

class CublasLt {
 public:
  // Opens the first that works: what LLAMA_CUBLAS names (files or folders, ':' between them) or, where it is not set, in this
  // module's folder, on the loader's path, in the toolkit's usual folder; the toolkit's major version first. Throws EngineError
  // ENGINE_UNAVAILABLE that says what was tried.
  CublasLt();
  ~CublasLt();
  CublasLt(const CublasLt&) = delete;
  CublasLt& operator=(const CublasLt&) = delete;

  cublasLtHandle_t handle = nullptr;
  size_t version() const { return get_version(); }  // 131000: 13.10.0

  // Throws EngineError OUT_OF_MEMORY or DEVICE_FAILED, with `what` was done.
  void check(cublasStatus_t status, const std::string& what) const;

  decltype(&cublasLtMatmul) matmul;
  decltype(&cublasLtMatmulAlgoGetHeuristic) get_heuristic;
  decltype(&cublasLtMatmulDescCreate) create_desc;
  decltype(&cublasLtMatmulDescDestroy) destroy_desc;
  decltype(&cublasLtMatmulDescSetAttribute) set_desc;
  decltype(&cublasLtMatrixLayoutCreate) create_layout;
  decltype(&cublasLtMatrixLayoutDestroy) destroy_layout;
  decltype(&cublasLtMatmulPreferenceCreate) create_preference;
  decltype(&cublasLtMatmulPreferenceDestroy) destroy_preference;
  decltype(&cublasLtMatmulPreferenceSetAttribute) set_preference;

 private:
  // Whether it works; otherwise appends why it does not, where it is there at all.
  bool open(const std::string& file, std::string& problems);
  bool find_functions();

  SharedLibrary library_;
  decltype(&cublasLtCreate) create = nullptr;
  decltype(&cublasLtDestroy) destroy = nullptr;
  decltype(&cublasLtGetVersion) get_version = nullptr;
  decltype(&cublasLtGetStatusString) status_string = nullptr;
};

}  // namespace llama::cuda

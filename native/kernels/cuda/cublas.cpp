#include "cublas.h"

#include <sys/stat.h>

#include <cstdlib>
#include <sstream>
#include <vector>

#include "runtime.h"

namespace llama::cuda {
namespace {

constexpr int own_major = CUDART_VERSION / 1000;
constexpr int majors[] = {own_major, own_major == 13 ? 12 : 13};
constexpr const char* toolkit_folder = "/usr/local/cuda/lib64";

std::string file_name(int major) { return "libcublasLt.so." + std::to_string(major); }

bool exists(const std::string& path) {
  struct stat status;
  return stat(path.c_str(), &status) == 0;
}

bool is_folder(const std::string& path) {
  struct stat status;
  return stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

std::string module_folder() {
  Dl_info info;
  if (dladdr(reinterpret_cast<const void*>(&module_folder), &info) == 0 || info.dli_fname == nullptr) return ".";
  const std::string file = info.dli_fname;
  const size_t slash = file.rfind('/');
  return slash == std::string::npos ? "." : file.substr(0, slash);
}

// An empty place is the loader's path.
std::vector<std::string> places() {
  const char* named = std::getenv("LLAMA_CUBLAS");
  if (named == nullptr || *named == '\0') return {module_folder(), "", toolkit_folder};
  std::vector<std::string> result;
  std::istringstream list(named);
  for (std::string entry; std::getline(list, entry, ':');) {
    if (!entry.empty()) result.push_back(entry);
  }
  return result;
}

}  // namespace

CublasLt::CublasLt() {
  std::string problems, tried;
  for (const int major : majors) {
    for (const std::string& place : places()) {
      const bool is_file = !place.empty() && exists(place) && !is_folder(place);
      if (is_file && major != own_major) continue;
      const std::string file = is_file ? place : place.empty() ? file_name(major) : place + "/" + file_name(major);
      if (open(file, problems)) return;
    }
  }
  for (const std::string& place : places()) tried += (tried.empty() ? "" : ", ") + (place.empty() ? "the loader's path" : place);
  throw EngineError("ENGINE_UNAVAILABLE", "cuBLASLt cannot be used: " + file_name(majors[0]) + " and " + file_name(majors[1]) +
                                              " were looked for in " + tried +
                                              (problems.empty() ? ", none is there" : problems) +
                                              "; install NVIDIA's cuBLAS or name its folder in LLAMA_CUBLAS");
}

CublasLt::~CublasLt() {
  if (handle != nullptr) destroy(handle);
}

bool CublasLt::open(const std::string& file, std::string& problems) {
  const bool has_folder = file.find('/') != std::string::npos;
  if (has_folder && !exists(file)) return false;
  library_ = SharedLibrary(file);
  if (!library_.is_open()) {
    // The loader says of a bare name only that it is not there.
    if (has_folder) problems += "; " + library_.problem();
    return false;
  }
  if (!find_functions()) {
    problems += "; " + file + ": lacks functions that are needed";
    return false;
  }
  const cublasStatus_t status = create(&handle);
  if (status == CUBLAS_STATUS_SUCCESS) return true;
  handle = nullptr;
  problems += "; " + file + ": does not start (" + status_string(status) + ")";
  return false;
}

bool CublasLt::find_functions() {
  return library_.find("cublasLtCreate", create) && library_.find("cublasLtDestroy", destroy) &&
         library_.find("cublasLtGetVersion", get_version) && library_.find("cublasLtGetStatusString", status_string) &&
         library_.find("cublasLtMatmul", matmul) && library_.find("cublasLtMatmulAlgoGetHeuristic", get_heuristic) &&
         library_.find("cublasLtMatmulDescCreate", create_desc) && library_.find("cublasLtMatmulDescDestroy", destroy_desc) &&
         library_.find("cublasLtMatmulDescSetAttribute", set_desc) &&
         library_.find("cublasLtMatrixLayoutCreate", create_layout) &&
         library_.find("cublasLtMatrixLayoutDestroy", destroy_layout) &&
         library_.find("cublasLtMatmulPreferenceCreate", create_preference) &&
         library_.find("cublasLtMatmulPreferenceDestroy", destroy_preference) &&
         library_.find("cublasLtMatmulPreferenceSetAttribute", set_preference);
}

void CublasLt::check(cublasStatus_t status, const std::string& what) const {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  // The library's word for a fault of the card says less than the runtime's.
  const cudaError_t fault = cudaPeekAtLastError();
  if (is_lost(fault)) cuda::check(fault);
  const std::string message = "cuBLASLt reports " + std::string(status_string(status)) + " for " + what;
  throw EngineError(status == CUBLAS_STATUS_ALLOC_FAILED ? "OUT_OF_MEMORY" : "DEVICE_FAILED", message);
}

}  // namespace llama::cuda

// A stand-in for cuBLASLt that multiplies on the host: what native/kernels/cuda/gemm.cpp asks of the library is carried out as
// the library documents it (column-major), and refused where it contradicts itself. Built as libcublasLt.so.13 beside
// gemm_cublas_test, from NVIDIA's header; it needs no GPU and no library of NVIDIA's.
#include <cublasLt.h>

#include <cstring>

#include "../../kernels/storage.h"

namespace {

using namespace llama;

struct Layout {
  cudaDataType type;
  int64_t rows, cols, ld;
};
struct Desc {
  cublasComputeType_t compute;
  cudaDataType_t scale;
  cublasOperation_t a = CUBLAS_OP_N, b = CUBLAS_OP_N;
};
struct Preference {
  uint64_t workspace = 0;
  uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_MASK;
  uint32_t alignments[4] = {256, 256, 256, 256};  // of a, b, c, d
};
// What a chosen kernel counts on; lies in cublasLtMatmulAlgo_t.
struct Choice {
  uint64_t workspace;
  uint32_t alignments[4];
};
static_assert(sizeof(Choice) <= sizeof(cublasLtMatmulAlgo_t));

const Layout& layout_of(cublasLtMatrixLayout_t layout) { return *reinterpret_cast<const Layout*>(layout); }

StorageType storage(cudaDataType type) {
  return type == CUDA_R_32F ? StorageType::f32 : type == CUDA_R_16F ? StorageType::f16 : StorageType::bf16;
}

void store(void* data, StorageType type, int64_t index, double value) {
  const auto rounded = static_cast<float>(value);
  const uint16_t half = type == StorageType::f16 ? f16_from_f32(rounded) : bf16_from_f32(rounded);
  if (type == StorageType::f32) {
    static_cast<float*>(data)[index] = rounded;
  } else {
    static_cast<uint16_t*>(data)[index] = half;
  }
}

bool sound(const Desc& desc, const Layout& a, const Layout& b, const Layout& c) {
  const bool transpose_a = desc.a == CUBLAS_OP_T, transpose_b = desc.b == CUBLAS_OP_T;
  const int64_t k = transpose_a ? a.rows : a.cols;
  return desc.compute == CUBLAS_COMPUTE_32F && desc.scale == CUDA_R_32F && a.type == b.type &&
         (c.type == a.type || c.type == CUDA_R_32F) && (transpose_a ? a.cols : a.rows) == c.rows &&
         (transpose_b ? b.rows : b.cols) == c.cols && (transpose_b ? b.cols : b.rows) == k && a.ld >= a.rows &&
         b.ld >= b.rows && c.ld >= c.rows && c.rows > 0 && c.cols > 0 && k > 0;
}

int questions = 0;

template <class To>
cublasStatus_t read_attribute(To& to, const void* from, size_t bytes) {
  if (bytes != sizeof(To)) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(&to, from, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

}  // namespace

extern "C" {

// How often the library was asked for a kernel.
int cublas_on_host_questions() { return questions; }

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  *handle = reinterpret_cast<cublasLtHandle_t>(new int(1));
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete reinterpret_cast<int*>(handle);
  return CUBLAS_STATUS_SUCCESS;
}
size_t cublasLtGetVersion() { return 130102; }
const char* cublasLtGetStatusString(cublasStatus_t status) {
  return status == CUBLAS_STATUS_NOT_SUPPORTED ? "not supported" : "invalid value";
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* desc, cublasComputeType_t compute, cudaDataType_t scale) {
  *desc = reinterpret_cast<cublasLtMatmulDesc_t>(new Desc{compute, scale});
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc) {
  delete reinterpret_cast<Desc*>(desc);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t attribute, const void* value, size_t bytes) {
  auto& to = *reinterpret_cast<Desc*>(desc);
  if (attribute == CUBLASLT_MATMUL_DESC_TRANSA) return read_attribute(to.a, value, bytes);
  if (attribute == CUBLASLT_MATMUL_DESC_TRANSB) return read_attribute(to.b, value, bytes);
  return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type, uint64_t rows, uint64_t cols, int64_t ld) {
  *layout = reinterpret_cast<cublasLtMatrixLayout_t>(new Layout{type, static_cast<int64_t>(rows), static_cast<int64_t>(cols), ld});
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete reinterpret_cast<Layout*>(layout);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  *preference = reinterpret_cast<cublasLtMatmulPreference_t>(new Preference);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete reinterpret_cast<Preference*>(preference);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t attribute, const void* value, size_t bytes) {
  auto& to = *reinterpret_cast<Preference*>(preference);
  switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES: return read_attribute(to.workspace, value, bytes);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK: return read_attribute(to.reductions, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES: return read_attribute(to.alignments[0], value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES: return read_attribute(to.alignments[1], value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES: return read_attribute(to.alignments[2], value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES: return read_attribute(to.alignments[3], value, bytes);
    default: return CUBLAS_STATUS_INVALID_VALUE;
  }
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t, cublasLtMatmulPreference_t preference, int most, cublasLtMatmulHeuristicResult_t* results, int* count) {
  ++questions;
  *count = 0;
  if (most < 1 || !sound(*reinterpret_cast<Desc*>(desc), layout_of(a), layout_of(b), layout_of(c))) return CUBLAS_STATUS_INVALID_VALUE;
  const auto& wanted = *reinterpret_cast<Preference*>(preference);
  // A width that no kernel is there for, so that the refusal is seen.
  if (layout_of(c).rows == 777) return CUBLAS_STATUS_NOT_SUPPORTED;
  if ((wanted.reductions & CUBLASLT_REDUCTION_SCHEME_INPLACE) != 0) return CUBLAS_STATUS_NOT_SUPPORTED;
  Choice choice{wanted.workspace, {}};
  std::memcpy(choice.alignments, wanted.alignments, sizeof choice.alignments);
  std::memcpy(&results[0].algo, &choice, sizeof choice);
  results[0].state = CUBLAS_STATUS_SUCCESS;
  results[0].workspaceSize = wanted.workspace;
  *count = 1;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t desc_, const void* alpha, const void* a, cublasLtMatrixLayout_t a_layout, const void* b, cublasLtMatrixLayout_t b_layout, const void* beta, const void* c, cublasLtMatrixLayout_t c_layout, void* d, cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* algo, void* workspace, size_t workspace_bytes, cudaStream_t) {
  const auto& desc = *reinterpret_cast<Desc*>(desc_);
  const Layout &la = layout_of(a_layout), &lb = layout_of(b_layout), &lc = layout_of(c_layout);
  Choice choice;
  std::memcpy(&choice, algo, sizeof choice);
  if (!sound(desc, la, lb, lc) || c_layout != d_layout || c != d) return CUBLAS_STATUS_INVALID_VALUE;
  if (workspace == nullptr || workspace_bytes < choice.workspace) return CUBLAS_STATUS_INVALID_VALUE;
  const void* pointers[4] = {a, b, c, d};
  for (int i = 0; i < 4; ++i) {
    if (reinterpret_cast<uintptr_t>(pointers[i]) % choice.alignments[i] != 0) return CUBLAS_STATUS_INVALID_VALUE;
  }
  const int64_t k = desc.a == CUBLAS_OP_T ? la.rows : la.cols;
  const float scale = *static_cast<const float*>(alpha), keep = *static_cast<const float*>(beta);
  for (int64_t j = 0; j < lc.cols; ++j) {
    for (int64_t i = 0; i < lc.rows; ++i) {
      double sum = 0;
      for (int64_t l = 0; l < k; ++l) {
        sum += static_cast<double>(load_element(a, storage(la.type), desc.a == CUBLAS_OP_T ? i * la.ld + l : l * la.ld + i)) *
               load_element(b, storage(lb.type), desc.b == CUBLAS_OP_T ? l * lb.ld + j : j * lb.ld + l);
      }
      const int64_t at = j * lc.ld + i;
      const double old = keep == 0 ? 0 : static_cast<double>(keep) * load_element(c, storage(lc.type), at);
      store(d, storage(lc.type), at, scale * sum + old);
    }
  }
  return CUBLAS_STATUS_SUCCESS;
}

}  // extern "C"

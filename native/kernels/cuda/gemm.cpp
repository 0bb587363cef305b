#include "gemm.h"

#include <algorithm>
#include <array>
#include <unordered_map>

#include "cublas.h"
#include "plain_product.h"

namespace llama::cuda {
namespace {

constexpr size_t most_plans = 4096;

cudaDataType_t data_type(StorageType type) {
  return type == StorageType::f32 ? CUDA_R_32F : type == StorageType::f16 ? CUDA_R_16F : CUDA_R_16BF;
}

// The largest power of two that divides an address; the library asks for no more than 256.
int64_t alignment_of(const void* pointer) {
  const auto address = reinterpret_cast<uintptr_t>(pointer) | 256;
  return static_cast<int64_t>(address & (~address + 1));
}

// What the library's choice of a kernel depends on.
using Key = std::array<int64_t, 10>;

Key key_of(const Gemm::Product& p) {
  const int64_t kinds = (p.transpose_a ? 1 : 0) | (p.transpose_b ? 2 : 0) | static_cast<int64_t>(p.type) << 2 |
                        static_cast<int64_t>(p.result) << 4 | (p.beta != 0 ? 64 : 0);
  return {p.m, p.n, p.k, p.lda, p.ldb, p.ldc, kinds, alignment_of(p.a), alignment_of(p.b), alignment_of(p.c)};
}

struct KeyHash {
  size_t operator()(const Key& key) const {
    uint64_t hash = 14695981039346656037u;  // FNV-1a, by words
    for (const int64_t part : key) hash = (hash ^ static_cast<uint64_t>(part)) * 1099511628211u;
    return static_cast<size_t>(hash ^ (hash >> 29));
  }
};

std::string shape_of(const Gemm::Product& p) {
  return "a product of [" + std::to_string(p.m) + ", " + std::to_string(p.k) + "] and [" + std::to_string(p.k) + ", " +
         std::to_string(p.n) + "]";
}

// A row-major product is a column-major one with the operands exchanged: C = A B there is Cᵀ = Bᵀ Aᵀ here, and a row-major X
// is a column-major Xᵀ as it lies in memory. So the library's first operand is our B, each transposed where ours is.
struct Plan {
  const CublasLt& library;
  cublasLtMatmulDesc_t desc = nullptr;
  cublasLtMatrixLayout_t first = nullptr, second = nullptr, result = nullptr;
  cublasLtMatmulAlgo_t algorithm{};
  bool is_known = false;  // to the library

  explicit Plan(const CublasLt& lt) : library(lt) {}
  ~Plan() {
    for (cublasLtMatrixLayout_t layout : {first, second, result}) {
      if (layout != nullptr) library.destroy_layout(layout);
    }
    if (desc != nullptr) library.destroy_desc(desc);
  }
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  void prepare(const Gemm::Product& p, size_t workspace) {
    const std::string what = shape_of(p);
    // Without TF32: float32 products are float32.
    library.check(library.create_desc(&desc, CUBLAS_COMPUTE_32F, CUDA_R_32F), what);
    const cublasOperation_t first_op = p.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasOperation_t second_op = p.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N;
    library.check(library.set_desc(desc, CUBLASLT_MATMUL_DESC_TRANSA, &first_op, sizeof first_op), what);
    library.check(library.set_desc(desc, CUBLASLT_MATMUL_DESC_TRANSB, &second_op, sizeof second_op), what);
    create_layout(&first, p.type, p.transpose_b ? p.k : p.n, p.transpose_b ? p.n : p.k, p.ldb, what);
    create_layout(&second, p.type, p.transpose_a ? p.m : p.k, p.transpose_a ? p.k : p.m, p.lda, what);
    create_layout(&result, p.result, p.n, p.m, p.ldc, what);
    choose(p, workspace, what);
  }

 private:
  void create_layout(cublasLtMatrixLayout_t* layout, StorageType type, int64_t rows, int64_t cols, int64_t ld,
                     const std::string& what) const {
    library.check(library.create_layout(layout, data_type(type), static_cast<uint64_t>(rows), static_cast<uint64_t>(cols), ld),
                  what);
  }

  // The library's first suggestion. Timing several would be faster for some shapes, but then two runs could differ in their
  // bits.
  void choose(const Gemm::Product& p, size_t workspace, const std::string& what) {
    cublasLtMatmulPreference_t preference = nullptr;
    library.check(library.create_preference(&preference), what);
    const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
      return library.set_preference(preference, attribute, &value, sizeof value);
    };
    // Partial sums of a product that is split along k stay float32 and are added in a fixed order.
    const uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    const auto alignment = [](const void* pointer) { return static_cast<uint32_t>(alignment_of(pointer)); };
    int count = 0;
    cublasLtMatmulHeuristicResult_t found{};
    cublasStatus_t status = CUBLAS_STATUS_SUCCESS;
    for (const cublasStatus_t one : {set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<uint64_t>(workspace)),
                                     set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, reductions),
                                     set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment(p.b)),
                                     set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment(p.a)),
                                     set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment(p.c)),
                                     set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment(p.c))}) {
      if (status == CUBLAS_STATUS_SUCCESS) status = one;
    }
    if (status == CUBLAS_STATUS_SUCCESS) {
      status = library.get_heuristic(library.handle, desc, first, second, result, result, preference, 1, &found, &count);
    }
    library.destroy_preference(preference);
    is_known = status == CUBLAS_STATUS_SUCCESS && count > 0 && found.state == CUBLAS_STATUS_SUCCESS;
    if (status != CUBLAS_STATUS_NOT_SUPPORTED) library.check(status, what);
    algorithm = found.algo;
  }
};

}  // namespace

struct Gemm::State {
  explicit State(Gpu& card) : gpu(card) { workspace = gpu.allocate(size_t{gpu.card().major >= 9 ? 64u : 32u} << 20); }

  Gpu& gpu;
  CublasLt library;
  std::unique_ptr<Memory> workspace;
  std::unordered_map<Key, std::unique_ptr<Plan>, KeyHash> plans;
};

Gemm::Gemm(Gpu& gpu) {
  gpu.make_current();
  state_ = std::make_unique<State>(gpu);
}

Gemm::~Gemm() = default;

std::string Gemm::name() const {
  const size_t version = state_->library.version();
  return "cuBLASLt " + std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100);
}

void Gemm::multiply(const Product& p) {
  if (p.m == 0 || p.n == 0) return;
  State& state = *state_;
  const Key key = key_of(p);
  auto found = state.plans.find(key);
  if (found == state.plans.end()) {
    if (state.plans.size() >= most_plans) state.plans.clear();
    auto plan = std::make_unique<Plan>(state.library);
    plan->prepare(p, state.workspace->bytes);
    found = state.plans.emplace(key, std::move(plan)).first;
  }
  const Plan& plan = *found->second;
  if (!plan.is_known) return plain_product(state.gpu.stream(), p);
  const cublasStatus_t status =
      state.library.matmul(state.library.handle, plan.desc, &p.alpha, p.b, plan.first, p.a, plan.second, &p.beta, p.c,
                           plan.result, p.c, plan.result, &plan.algorithm, state.workspace->data, state.workspace->bytes,
                           state.gpu.stream());
  if (status != CUBLAS_STATUS_SUCCESS) state.library.check(status, shape_of(p));
}

}  // namespace llama::cuda

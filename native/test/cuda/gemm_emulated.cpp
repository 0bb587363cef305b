// The products of native/kernels/cuda/gemm.h on the host, as the library's meaning: loops in double, rounded once.
#include "../../kernels/cuda/gemm.h"
#include "../../kernels/storage.h"

namespace llama::cuda {
namespace {

double load(const void* data, StorageType type, int64_t index) { return load_element(data, type, index); }

void store(void* data, StorageType type, int64_t index, double value) {
  const auto rounded = static_cast<float>(value);
  if (type == StorageType::f32) {
    static_cast<float*>(data)[index] = rounded;
  } else {
    static_cast<uint16_t*>(data)[index] = type == StorageType::f16 ? f16_from_f32(rounded) : bf16_from_f32(rounded);
  }
}

void run(const Gemm::Product& p) {
  for (int64_t i = 0; i < p.m; ++i) {
    for (int64_t j = 0; j < p.n; ++j) {
      double sum = 0;
      for (int64_t l = 0; l < p.k; ++l) {
        sum += load(p.a, p.type, p.transpose_a ? l * p.lda + i : i * p.lda + l) *
               load(p.b, p.type, p.transpose_b ? j * p.ldb + l : l * p.ldb + j);
      }
      const int64_t at = i * p.ldc + j;
      const double old = p.beta == 0 ? 0 : p.beta * load(p.c, p.result, at);
      store(p.c, p.result, at, p.alpha * sum + old);
    }
  }
}

}  // namespace

struct Gemm::State {};

Gemm::Gemm(Gpu&) {}
Gemm::~Gemm() = default;

std::string Gemm::name() const { return "emulated"; }

void Gemm::multiply(const Product& product) {
  emulated::queue([product] { run(product); });
}

}  // namespace llama::cuda

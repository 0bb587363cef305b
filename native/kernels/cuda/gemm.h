// Large matrix products: cuBLASLt, which is at the limit of the card for them already.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>

#include "../element.h"
#include "../ops.h"
#include "gpu.h"

namespace llama::cuda {

// op(X) of a row-major X with leading dimension ld: X itself or, transposed, Xᵀ.
template <class T>
struct Operand {
  const T* data;
  int64_t ld;
  bool transposed = false;
};

class Gemm {
 public:
  // Throws EngineError ENGINE_UNAVAILABLE where the library cannot be opened, saying what was tried, and OUT_OF_MEMORY.
  explicit Gemm(Gpu& gpu);
  ~Gemm();

  // C[m, n] = alpha * op(A) op(B) + beta * C      op(A) [m, k], op(B) [k, n], C row-major; not read where beta is 0
  // Sums are float32 (true float32 where T is float). Any sizes >= 1 and alignments. The same call on the same card with the
  // same library gives the same bits.
  template <class T, class C>
  void multiply(const Operand<T>& a, const Operand<T>& b, C* c, int64_t ldc, int64_t m, int64_t n, int64_t k, float alpha,
                float beta) {
    static_assert(std::is_same_v<C, T> || std::is_same_v<C, float>);
    multiply({a.data, a.ld, a.transposed, b.data, b.ld, b.transposed, type_of<T>, c, ldc, type_of<C>, m, n, k, alpha, beta});
  }

  struct Product {
    const void* a;
    int64_t lda;
    bool transpose_a;
    const void* b;
    int64_t ldb;
    bool transpose_b;
    StorageType type;  // of A and B
    void* c;
    int64_t ldc;
    StorageType result;
    int64_t m, n, k;
    float alpha, beta;
  };
  void multiply(const Product& product);

  // What multiplies: "cuBLASLt 13.10.0".
  std::string name() const;

 private:
  template <class T>
  static constexpr StorageType type_of = std::is_same_v<T, float>  ? StorageType::f32
                                         : std::is_same_v<T, Bf16> ? StorageType::bf16
                                                                   : StorageType::f16;
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace llama::cuda

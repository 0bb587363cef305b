// The meaning of products as the engine's tests have it where there is no cuBLASLt: transposes, leading dimensions, alpha and
// beta, element types, recordings. gemm_cublas_test holds the library's calls to the same.
//
// Tolerance: both sides sum in double, so only the rounding of the result to its type is left (checks.h); 1e-6 is that of float.
#include <limits>

#include "../../kernels/cuda/gemm.h"
#include "../../kernels/cuda/graph.h"
#include "checks.h"

namespace {

using namespace llama;
using namespace llama::cuda;
using namespace llama::checks;

struct Fixture {
  Gpu gpu{choose_card(probe(), 0)};
  Gemm gemm{gpu};
};

template <class T, class C>
void test_products(Gemm& gemm) {
  current = std::string("product of ") + name_of<T>;
  const int64_t sizes[][3] = {{1, 1, 1}, {3, 5, 7}, {16, 8, 32}, {1, 33, 65}, {29, 1, 12}};
  for (const auto& [m, n, k] : sizes) {
    for (int variant = 0; variant < 8; ++variant) {
      const bool transpose_a = variant & 1, transpose_b = variant & 2, gaps = variant & 4;
      Matrix<T> a(transpose_a ? k : m, transpose_a ? m : k, gaps ? 3 : 0, gaps), b(transpose_b ? n : k, transpose_b ? k : n, gaps ? 1 : 0);
      a.fill(1 / std::sqrt(static_cast<float>(k)));
      b.fill();
      for (const float beta : {0.0f, 1.0f, -0.5f}) {
        Matrix<C> c(m, n, gaps ? 5 : 0, gaps);
        c.fill();
        const Matrix<C> before = c;
        // Not even a NaN of the old contents is read where beta is 0.
        if (beta == 0) c.at(m - 1, n - 1) = from_float<C>(std::numeric_limits<float>::quiet_NaN());
        gemm.multiply<T, C>({a.data, a.ld, transpose_a}, {b.data, b.ld, transpose_b}, c.data, c.ld, m, n, k, 0.75f, beta);
        expect_close(c, before, 1e-6, [&](int64_t i, int64_t j) {
          double sum = 0;
          for (int64_t l = 0; l < k; ++l) sum += (transpose_a ? a.value(l, i) : a.value(i, l)) * (transpose_b ? b.value(j, l) : b.value(l, j));
          return 0.75 * sum + beta * before.value(i, j);
        }, std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k) + " variant " + std::to_string(variant) + " beta " + std::to_string(beta));
      }
    }
  }
}

void test_recording() {
  current = "recorded product";
  Fixture fixture;
  GraphCache graphs(fixture.gpu);
  float a[2] = {2, 3}, b[2] = {5, 7}, c = 0;
  for (int i = 1; i <= 4; ++i) {
    a[0] = static_cast<float>(i);
    graphs.replay({1}, [&] { fixture.gemm.multiply<float, float>({a, 2}, {b, 1}, &c, 1, 1, 1, 2, 1, 0); });
    expect(c == static_cast<float>(5 * i + 21), "run " + std::to_string(i));
  }
}

}  // namespace

int main() {
  Fixture fixture;
  test_products<float, float>(fixture.gemm);
  test_products<Bf16, Bf16>(fixture.gemm);
  test_products<Bf16, float>(fixture.gemm);
  test_products<Half, Half>(fixture.gemm);
  test_products<Half, float>(fixture.gemm);
  test_recording();
  return report();
}

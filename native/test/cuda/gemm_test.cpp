// The meaning of products: transposes, leading dimensions, alpha and beta, element types, recordings. On a card it is that of
// cuBLASLt; emulated, that of the products that stand for it in the engine's tests. gemm_cublas_test holds the calls to the same.
//
// The products that stand in where the library has none are held to it too.
//
// Tolerance: the rounding of the result to its type (checks.h). Emulated, sums are double: 1e-6 is the rounding of float. The
// library sums up to 1030 products of about 1 / sqrt(k) in float32: 1e-5, of which a missed one is thousands.
#include <array>
#include <functional>
#include <limits>

#include "../../kernels/cuda/gemm.h"
#include "../../kernels/cuda/graph.h"
#include "../../kernels/cuda/plain_product.h"
#include "checks.h"

namespace {

using namespace llama;
using namespace llama::cuda;
using namespace llama::checks;

struct Fixture {
  Gpu gpu{choose_card(probe(), 0)};
  Gemm gemm{gpu};
};

using Multiply = std::function<void(const Gemm::Product&)>;

template <class T, class C>
void test_products(const char* name, const Multiply& multiply, double tolerance) {
  current = std::string(name) + " product of " + name_of<T>;
  std::vector<std::array<int64_t, 3>> sizes = {{1, 1, 1}, {3, 5, 7}, {16, 8, 32}, {1, 33, 65}, {29, 1, 12}};
  // What the library has its fast kernels for, with and without edges; minutes emulated.
  if (on_card) sizes.insert(sizes.end(), {{256, 384, 512}, {129, 257, 1030}, {64, 4, 1024}});
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
        multiply({a.data, a.ld, transpose_a, b.data, b.ld, transpose_b, storage_of<T>, c.data, c.ld, storage_of<C>, m, n, k, 0.75f, beta});
        finish();
        expect_close(c, before, tolerance, [&](int64_t i, int64_t j) {
          double sum = 0;
          for (int64_t l = 0; l < k; ++l) sum += (transpose_a ? a.value(l, i) : a.value(i, l)) * (transpose_b ? b.value(j, l) : b.value(l, j));
          return 0.75 * sum + beta * before.value(i, j);
        }, std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k) + " variant " + std::to_string(variant) + " beta " + std::to_string(beta));
      }
    }
  }
}

void test_types(const char* name, const Multiply& multiply, double tolerance) {
  test_products<float, float>(name, multiply, tolerance);
  test_products<Bf16, Bf16>(name, multiply, tolerance);
  test_products<Bf16, float>(name, multiply, tolerance);
  test_products<Half, Half>(name, multiply, tolerance);
  test_products<Half, float>(name, multiply, tolerance);
}

void test_recording() {
  current = "recorded product";
  Fixture fixture;
  GraphCache graphs(fixture.gpu);
  std::vector<float> a = {2, 3}, b = {5, 7}, c = {0};
  for (int i = 1; i <= 4; ++i) {
    a[0] = static_cast<float>(i);
    graphs.replay({1}, [&] { fixture.gemm.multiply<float, float>({a.data(), 2}, {b.data(), 1}, c.data(), 1, 1, 1, 2, 1, 0); });
    finish();
    expect(c[0] == static_cast<float>(5 * i + 21), "run " + std::to_string(i));
  }
}

}  // namespace

int main() {
  begin();
  Fixture fixture;
  test_types("library", [&](const Gemm::Product& product) { fixture.gemm.multiply(product); }, on_card ? 1e-5 : 1e-6);
  test_types("plain", [&](const Gemm::Product& product) { plain_product(fixture.gpu.stream(), product); }, 1e-5);
  test_recording();
  return report();
}

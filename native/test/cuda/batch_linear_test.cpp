// Products of 9 to 64 tokens with quantised weights on tensor cores, against sums in double.
//
// Compared with the numbers that are multiplied (NF4's values rounded to T): what remains are float32 sums, off by 2e-6 of the
// sum of magnitudes at most, and the rounding of the result to T. A missed element is a thousandth of that sum and more.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "../../kernels/cuda/batch_linear.h"
#include "product_values.h"
#include "quantized_values.h"

namespace {

using namespace llama;
using namespace llama::cuda;
using checks::expect;
using checks::generator;
using checks::Floats;
using checks::half_unit;
using checks::random_floats;
using checks::rounded;
using checks::same;

struct Setting {
  Quantization kind;
  bool twice;
  int64_t rows, cols;
  int tokens;
  int64_t gap;
  int multiprocessors;
};

template <class T>
void test(const char* type, const Setting& s) {
  constexpr const char* kinds[] = {"", "int8", "int4", "nf4"};
  const std::string what = std::string(type) + " on " + kinds[static_cast<int>(s.kind)] + (s.twice ? " twice " : " ") + std::to_string(s.rows) + "x" + std::to_string(s.cols) + " tokens " + std::to_string(s.tokens) + " on " + std::to_string(s.multiprocessors);
  Floats floats = random_floats(s.rows * s.cols, 0.5f);
  for (size_t i = 64; i < std::min<size_t>(floats.size(), 128); ++i) floats[i] = 0;
  const auto matrix = std::make_unique<reference::QuantizedMatrix>(reference::quantize(floats.data(), s.rows, s.cols, s.kind, s.twice));
  const QuantizedView view = checks::view_of(*matrix);
  const std::vector<double> weights = s.kind == Quantization::nf4 ? checks::rounded_values_of<T>(*matrix) : checks::values_of(*matrix);
  const int64_t ldx = s.cols + s.gap, ldy = s.rows + 5;
  const std::vector<T> x = rounded<T>(random_floats((s.tokens - 1) * ldx + s.cols));
  const Floats before = random_floats((s.tokens - 1) * ldy + s.rows);
  const DeviceLimits limits{s.multiprocessors, size_t{64} << 10};
  std::vector<unsigned char> scratch(batch_linear_scratch_bytes(view, s.tokens, limits));
  const auto run = [&](const ProductOutput<T>& output) {
    std::fill(scratch.begin(), scratch.end(), 0xff);
    expect(batch_linear(nullptr, view, x.data(), ldx, s.tokens, output, limits, scratch.data()), what + ": refused");
  };
  const auto check = [&](const auto& y, const auto& old, bool accumulate, double rounds, const std::string& how) {
    double worst = 0;
    auto rest = y;
    for (int64_t token = 0; token < s.tokens; ++token) {
      for (int64_t row = 0; row < s.rows; ++row) {
        double sum = accumulate ? to_float(old[token * ldy + row]) : 0.0, magnitude = std::abs(sum);
        for (int64_t k = 0; k < s.cols; ++k) {
          const double product = weights[row * s.cols + k] * to_float(x[static_cast<size_t>(token * ldx + k)]);
          sum += product;
          magnitude += std::abs(product);
        }
        const double gap = std::abs(to_float(y[token * ldy + row]) - sum) / (2e-6 * magnitude + rounds * std::abs(sum) + 1e-7);
        if (!(gap <= worst)) worst = gap;
        rest[token * ldy + row] = old[token * ldy + row];
      }
    }
    expect(worst <= 1, what + how + ": off by " + std::to_string(worst) + " of the tolerance");
    expect(same(rest, old), what + how + ": wrote between the rows");
  };
  Floats sums = before, over = before, again = before;
  run(ProductOutput<T>::f32(sums.data(), ldy, true));
  check(sums, before, true, half_unit<float>, ", accumulated");
  run(ProductOutput<T>::f32(over.data(), ldy, false));
  check(over, before, false, half_unit<float>, ", float32");
  const std::vector<T> old = rounded<T>(before);
  std::vector<T> y = old;
  run(ProductOutput<T>::of(y.data(), ldy));
  check(y, old, false, half_unit<T>, "");
  if (s.rows > 64) return;
  checks::in_every_order([&] {
    run(ProductOutput<T>::f32(again.data(), ldy, false));
    expect(same(again, over), what + ": depends on the order of threads");
  });
}

template <class T>
void test_type(const char* type, bool every_shape) {
  const Quantization int8 = Quantization::int8, int4 = Quantization::int4, nf4 = Quantization::nf4;
  test<T>(type, {int8, false, 40, 192, 9, 0, 4});
  test<T>(type, {int4, false, 33, 64, 17, 16, 4});
  // Split along k: 3 ranges of unequal length, of which the last one's last stage is half empty.
  test<T>(type, {nf4, true, 50, 1728, 9, 0, 2});
  if (!every_shape) return;
  test<T>(type, {nf4, false, 17, 128, 64, 8, 4});
  test<T>(type, {int4, true, 7, 320, 33, 24, 4});
  test<T>(type, {nf4, true, 130, 192, 16, 8, 1});
  // And further splits.
  test<T>(type, {int8, false, 129, 1664, 25, 0, 3});
  test<T>(type, {int4, false, 20, 2112, 40, 0, 8});
  test<T>(type, {nf4, false, 1, 576, 1, 0, 16});
}

void test_refusal() {
  Floats weights(10 * 65, 1.0f);
  reference::QuantizedMatrix matrix = reference::quantize(weights.data(), 10, 65, Quantization::nf4, false);
  QuantizedView view = checks::view_of(matrix);
  std::vector<Half> x(9 * 65), y(9 * 10, Half{7});
  expect(!batch_linear(nullptr, view, x.data(), 65, 9, ProductOutput<Half>::of(y.data(), 10), {4, 65536}, nullptr), "blocks across rows are refused");
  view.cols = 64;
  for (const int64_t ldx : {64, 65}) {
    expect(!batch_linear(nullptr, view, x.data() + (ldx == 64 ? 1 : 0), ldx, 9, ProductOutput<Half>::of(y.data(), 10), {4, 65536}, nullptr), "rows out of step with packs are refused");
  }
  expect(same(y, std::vector<Half>(9 * 10, Half{7})), "nothing is done then");
}

}  // namespace

int main() {
  checks::begin();
  test_type<Bf16>("bf16", true);
  test_type<Half>("f16", checks::is_thorough());
  test_refusal();
  return checks::report();
}

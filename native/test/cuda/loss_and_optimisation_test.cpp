// Cross-entropy, the gradient's norm and AdamW of the CUDA kernels, against double-precision loops.
//
// Tolerances: a softmax of float32 logits is off by some 1e-7 for each of exponential, sum and quotient: 2e-6 of the scale.
// Losses are sums of float32 row losses: 1e-6. sum_squares sums in float64: 1e-13. AdamW rounds to float32 a few times a step
// where the reference does once: 2e-6, and 1e-5 after 300. Gradients in 16 bits are rounded once more (checks.h).
#include "../../kernels/cuda/loss.h"
#include "../../kernels/cuda/optimisation.h"
#include "checks.h"

namespace {

using namespace llama;
using namespace llama::checks;

struct Loss {
  double loss;
  Matrix<double> gradient;
};

Loss exact_cross_entropy(const Matrix<float>& logits, const std::vector<int32_t>& targets, double scale) {
  Loss result{0, Matrix<double>(logits.rows, logits.width)};
  for (int64_t row = 0; row < logits.rows; ++row) {
    double most = logits.value(row, 0), total = 0;
    for (int64_t i = 0; i < logits.width; ++i) most = std::max(most, logits.value(row, i));
    for (int64_t i = 0; i < logits.width; ++i) total += std::exp(logits.value(row, i) - most);
    result.loss += most + std::log(total) - logits.value(row, targets[row]);
    for (int64_t i = 0; i < logits.width; ++i) {
      result.gradient.at(row, i) = (std::exp(logits.value(row, i) - most) / total - (i == targets[row] ? 1 : 0)) * scale;
    }
  }
  return result;
}

template <class T>
void test_cross_entropy(int64_t vocab, int64_t gap, float spread, bool shift_logits = false, bool shift_gradient = false) {
  const std::string what = "cross_entropy, vocab " + std::to_string(vocab) + (shift_logits ? " shifted" : "") + (shift_gradient ? " to shifted" : "") + " spread " + std::to_string(spread);
  const int64_t rows = 5;
  const float scale = 0.5f;
  Matrix<float> logits(rows, vocab, gap, shift_logits);
  logits.fill(spread);
  std::vector<int32_t> targets(rows);
  for (int32_t& target : targets) target = static_cast<int32_t>(random_int(0, vocab - 1));
  targets.back() = static_cast<int32_t>(vocab - 1);
  const Loss exact = exact_cross_entropy(logits, targets, scale);
  const auto gradient_at = [&](int64_t row, int64_t i) { return exact.gradient.value(row, i); };
  const auto losses_agree = [&](double loss, const std::string& which) {
    expect(std::abs(loss - 100 - exact.loss) <= 1e-6 * std::max(1.0, exact.loss), what + ": loss " + which + " " + std::to_string(loss - 100) + ", not " + std::to_string(exact.loss));
  };

  std::vector<float> row_losses(rows);
  std::vector<double> loss = {100};  // is added to
  Matrix<T> gradient(rows, vocab, gap + 4, shift_gradient);
  gradient.fill();
  const auto before = gradient;
  auto read = logits;
  cuda::cross_entropy(nullptr, read.data, read.ld, rows, vocab, targets.data(), scale, gradient.data, gradient.ld, loss.data(), row_losses.data());
  losses_agree(loss[0], "apart");
  expect_close(gradient, before, 2e-6, gradient_at, what);
  expect(same_bits(read, logits), what + ": logits are only read");

  loss = {100};
  cuda::cross_entropy<T>(nullptr, read.data, read.ld, rows, vocab, targets.data(), scale, nullptr, 0, loss.data(), row_losses.data());
  losses_agree(loss[0], "without a gradient");
  expect(same_bits(read, logits), what + ": no gradient is written");

  if constexpr (sizeof(T) == 4) {
    loss = {100};
    cuda::cross_entropy(nullptr, read.data, read.ld, rows, vocab, targets.data(), scale, read.data, read.ld, loss.data(), row_losses.data());
    losses_agree(loss[0], "in place");
    expect_close(read, logits, 2e-6, gradient_at, what + " in place");
  }
}

void test_loss_of_many_rows() {
  const int64_t rows = 1300, vocab = 3;  // more rows than a block has threads
  Matrix<float> logits(rows, vocab);
  logits.fill();
  const std::vector<int32_t> targets(rows, 1);
  std::vector<float> row_losses(rows);
  std::vector<double> loss = {0};
  cuda::cross_entropy<Half>(nullptr, logits.data, vocab, rows, vocab, targets.data(), 1, nullptr, 0, loss.data(), row_losses.data());
  const double exact = exact_cross_entropy(logits, targets, 1).loss;
  expect(std::abs(loss[0] - exact) <= 1e-6 * exact, "cross_entropy of many rows");
  cuda::cross_entropy<Half>(nullptr, logits.data, vocab, 0, vocab, targets.data(), 1, nullptr, 0, loss.data(), row_losses.data());
  expect(std::abs(loss[0] - exact) <= 1e-6 * exact, "cross_entropy of no rows");
}

void test_overflowing_loss() {
  Matrix<float> logits(2, 40);
  logits.fill();
  logits.at(1, 7) = NAN;
  const std::vector<int32_t> targets = {0, 0};
  std::vector<float> row_losses(2);
  std::vector<double> loss = {0};
  cuda::cross_entropy<float>(nullptr, logits.data, 40, 2, 40, targets.data(), 1, nullptr, 0, loss.data(), row_losses.data());
  expect(std::isnan(loss[0]) && std::isfinite(row_losses[0]) && std::isnan(row_losses[1]), "a logit that is no number makes no loss");
}

void test_sum_squares(int64_t n, bool shifted) {
  Matrix<float> x(1, n, 0, shifted);
  x.fill();
  double exact = 0;
  for (int64_t i = 0; i < n; ++i) exact += x.value(0, i) * x.value(0, i);
  std::vector<unsigned char> scratch(cuda::sum_squares_scratch_bytes(n));
  std::vector<double> sum = {NAN};
  cuda::sum_squares(nullptr, x.data, n, sum.data(), scratch.data());
  expect(std::abs(sum[0] - exact) <= 1e-13 * exact, "sum_squares " + std::to_string(n) + (shifted ? " shifted" : ""));
}

// One step of what native/kernels/reference does, on float64 state.
void exact_adamw(std::vector<double>& p, const Matrix<float>& gradient, std::vector<double>& m, std::vector<double>& v, const AdamW& settings) {
  for (size_t i = 0; i < p.size(); ++i) {
    const double g = gradient.value(0, static_cast<int64_t>(i)) * settings.gradient_scale;
    m[i] = settings.beta1 * m[i] + (1 - settings.beta1) * g;
    v[i] = settings.beta2 * v[i] + (1 - settings.beta2) * g * g;
    const double first = m[i] / (1 - std::pow(settings.beta1, settings.step)), second = v[i] / (1 - std::pow(settings.beta2, settings.step));
    p[i] -= settings.learning_rate * (settings.weight_decay * p[i] + first / (std::sqrt(second) + settings.epsilon));
  }
}

// `shifted`: the operand that starts where no pack is aligned, if any.
template <class T>
void test_adamw(int64_t n, int shifted, int steps, double tolerance) {
  const std::string what = "adamw " + std::to_string(n) + " shifted " + std::to_string(shifted) + " steps " + std::to_string(steps) + " " + name_of<T>;
  Matrix<float> p(1, n, 0, shifted == 0), m(1, n, 0, shifted == 1), v(1, n, 0, shifted == 2), gradient(1, n, 0, shifted == 3);
  Matrix<T> copy(1, n, 0, shifted == 4);
  p.fill();
  copy.fill();
  auto without = p, m_without = m, v_without = v;
  std::vector<double> exact_p(p.memory.end() - n, p.memory.end()), exact_m(static_cast<size_t>(n)), exact_v(static_cast<size_t>(n));
  const auto start = p, m_start = m, v_start = v;
  for (int step = 1; step <= steps; ++step) {
    gradient.fill(step % 3 == 0 ? 0.01f : 2.0f);
    const AdamW settings{1e-2, 0.9, 0.999, 1e-8, 0.1, 0.7, step};
    exact_adamw(exact_p, gradient, exact_m, exact_v, settings);
    cuda::adamw(nullptr, p.data, gradient.data, m.data, v.data, n, settings, copy.data);
    cuda::adamw(nullptr, without.data, gradient.data, m_without.data, v_without.data, n, settings);
  }
  expect_close(p, start, tolerance, [&](int64_t, int64_t i) { return exact_p[i]; }, what + " parameter");
  expect_close(m, m_start, tolerance, [&](int64_t, int64_t i) { return exact_m[i]; }, what + " m");
  expect_close(v, v_start, tolerance, [&](int64_t, int64_t i) { return exact_v[i]; }, what + " v");
  bool rounded = true;
  for (int64_t i = 0; i < n; ++i) rounded = rounded && copy.value(0, i) == static_cast<double>(cuda::to_float(cuda::from_float<T>(p.at(0, i))));
  expect(rounded, what + ": the copy is the parameters rounded");
  expect(same_bits(p, without) && same_bits(m, m_without) && same_bits(v, v_without), what + ": the same without a copy");
}

template <class T>
void test_all() {
  for (const int64_t vocab : {1, 5, 17, 512, 2052}) test_cross_entropy<T>(vocab, 2, 4);
  for (const int64_t vocab : {4, 640, 9004}) test_cross_entropy<T>(vocab, 0, 4);
  test_cross_entropy<T>(64, 0, 4, true, false);
  test_cross_entropy<T>(64, 0, 4, false, true);
  test_cross_entropy<T>(300, 0, 3000);  // far beyond what an exponential holds
  for (const int64_t n : {1, 3, 4, 15, 1031}) test_adamw<T>(n, -1, 3, 2e-6);
  for (int operand = 0; operand < 5; ++operand) test_adamw<T>(8, operand, 1, 2e-6);
}

}  // namespace

int main() {
  begin();
  in_every_order([] {
    test_all<float>();
    test_all<Bf16>();
    test_all<Half>();
    for (const int64_t n : {0, 1, 3, 4096, 20003}) {
      test_sum_squares(n, false);
      test_sum_squares(n, true);
    }
  });
  current = "long";
  test_loss_of_many_rows();
  test_overflowing_loss();
  test_adamw<float>(9, -1, 300, 1e-5);
  return report();
}

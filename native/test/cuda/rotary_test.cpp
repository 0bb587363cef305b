// The heads of q, k and v between their product and attention, against double-precision loops.
//
// Tolerances: as in rows_test.cpp, of the largest value of a row: a head is a sum of at most 256 squares in a tree. Gradients
// subtract two terms of like size: five times as much.
#include "../../kernels/cuda/rotary.h"
#include "checks.h"

namespace {

using namespace llama;
using namespace llama::checks;

constexpr double tolerance = 2e-5;
constexpr int64_t tokens = 4;

// Of one token, double: what rope and rope_backward mean.
struct Truth {
  const AttentionShape& shape;
  const Rotary& rotary;

  const float* norm(int head) const { return head < shape.heads ? rotary.q_norm : rotary.k_norm; }

  void turn(std::vector<double>& head, int64_t token, double sign) const {
    const int half = shape.head_dim / 2;
    const float* turns = rotary.cos_sin + rotary.positions[token] * int64_t{shape.head_dim};
    for (int i = 0; i < half; ++i) {
      const double a = head[i], b = head[half + i], cos = turns[2 * i], sin = sign * turns[2 * i + 1];
      head[i] = a * cos - b * sin;
      head[half + i] = b * cos + a * sin;
    }
  }

  double factor(const std::vector<double>& head) const {
    double squares = 0;
    for (const double value : head) squares += value * value;
    return 1 / std::sqrt(squares / shape.head_dim + rotary.eps);
  }

  std::vector<double> forward(std::vector<double> head, int64_t token, int number) const {
    if (number >= shape.heads + shape.kv_heads) return head;
    if (norm(number) != nullptr) {
      const double r = factor(head);
      for (int i = 0; i < shape.head_dim; ++i) head[i] *= r * norm(number)[i];
    }
    turn(head, token, 1);
    return head;
  }

  std::vector<double> backward(const std::vector<double>& head, std::vector<double> g, int64_t token, int number) const {
    if (number >= shape.heads + shape.kv_heads) return g;
    turn(g, token, -1);
    if (norm(number) == nullptr) return g;
    const double r = factor(head);
    double mean = 0;
    for (int i = 0; i < shape.head_dim; ++i) mean += (g[i] *= norm(number)[i]) * head[i] / shape.head_dim;
    for (int i = 0; i < shape.head_dim; ++i) g[i] = r * g[i] - head[i] * r * r * r * mean;
    return g;
  }
};

template <class T>
std::vector<double> head_of(const Matrix<T>& rows, int64_t row, int head, int head_dim, const float* bias) {
  std::vector<double> values;
  for (int64_t i = int64_t{head} * head_dim; i < int64_t{head + 1} * head_dim; ++i) values.push_back(rows.value(row, i) + (bias == nullptr ? 0.0 : bias[i]));
  return values;
}

template <class T>
void test_rope(int head_dim, int heads, int kv_heads, int64_t gap, bool shifted) {
  const AttentionShape shape{heads, kv_heads, head_dim, 0, 1};
  const int64_t width = int64_t{heads + 2 * kv_heads} * head_dim;
  Matrix<float> turns(32, head_dim), bias(1, width), q_norm(1, head_dim), k_norm(1, head_dim);  // cos, sin, cos, sin ...
  turns.fill();
  bias.fill(20);
  q_norm.fill();
  k_norm.fill();
  const std::vector<int32_t> positions = {31, 0, 7, 7};
  for (int kind = 0; kind < 4; ++kind) {
    Rotary rotary{positions.data(), turns.data};
    if (kind & 1) rotary.bias = bias.data;
    if (kind & 2) rotary.q_norm = q_norm.data, rotary.k_norm = k_norm.data, rotary.eps = 1e-5f;
    const std::string what = std::to_string(heads) + "/" + std::to_string(kv_heads) + "x" + std::to_string(head_dim) + "+" + std::to_string(gap) +
                             (shifted ? " shifted" : "") + (kind & 1 ? " bias" : "") + (kind & 2 ? " norms" : "");
    const Truth truth{shape, rotary};
    Matrix<T> x(tokens, width, gap, shifted), g(tokens, width, gap, shifted), y(tokens, width, gap, shifted);
    x.fill();
    g.fill();
    y.fill();
    // A head at a time: each element of a head needs the whole of it.
    const auto expected = [&](auto head_truth) {
      std::vector<double> values;
      for (int64_t row = 0; row < tokens; ++row) {
        for (int head = 0; head < heads + 2 * kv_heads; ++head) {
          const std::vector<double> part = head_truth(row, head);
          values.insert(values.end(), part.begin(), part.end());
        }
      }
      return [values, width](int64_t row, int64_t column) { return values[static_cast<size_t>(row * width + column)]; };
    };
    const auto forward = expected([&](int64_t row, int head) { return truth.forward(head_of(x, row, head, head_dim, rotary.bias), row, head); });
    const auto before = y;
    cuda::rope(nullptr, shape, rotary, static_cast<const T*>(x.data), x.ld, tokens, y.data, y.ld);
    expect_close(y, before, tolerance, forward, "rope into other rows " + what);
    auto z = x;
    cuda::rope(nullptr, shape, rotary, static_cast<const T*>(z.data), z.ld, tokens, z.data, z.ld);
    expect_close(z, x, tolerance, forward, "rope in place " + what);
    const auto gradient = g;
    cuda::rope_backward(nullptr, shape, rotary, static_cast<const T*>(kind & 2 ? x.data : nullptr), x.ld, tokens, g.data, g.ld);
    const auto backward = expected([&](int64_t row, int head) {
      return truth.backward(head_of(x, row, head, head_dim, rotary.bias), head_of(gradient, row, head, head_dim, nullptr), row, head);
    });
    expect_close(g, gradient, 5 * tolerance, backward, "rope_backward " + what);
  }
}

template <class T>
void test_all() {
  in_every_order([] {
    test_rope<T>(6, 3, 1, 0, false);
    test_rope<T>(128, 2, 1, 0, false);
    test_rope<T>(100, 1, 1, 1, true);
  });
  for (const int head_dim : {2, 16, 20, 64, 256}) {
    test_rope<T>(head_dim, 3, 1, 0, false);
    test_rope<T>(head_dim, 2, 2, 1, true);
  }
  test_rope<T>(128, 12, 4, 128, false);
  test_rope<T>(2, 300, 1, 0, false);
  test_rope<T>(8, 2, 0, 0, false);
}

}  // namespace

int main() {
  begin();
  test_all<float>();
  test_all<Bf16>();
  test_all<Half>();
  return report();
}

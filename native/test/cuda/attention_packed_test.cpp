// Attention over packed rows, forward and backward, against loops in double precision: row lengths around
// a tile's, empty rows, grouped heads, windows, and matrices that lie well or badly in memory.
//
// Tolerances: float32 sums of a few hundred products of order one are exact to 1e-5. With 16 bits, both sides see the same
// rounded inputs, but the kernels round p and ds, half an ulp each (2^-12 in f16, 2^-9 in bf16), and dk sums up to 500 of them;
// 2^-9 and 2^-6 are a few times what these add up to. A key that is missed or seen wrongly changes its row by more than the
// former: scores have a deviation of 2, so that few keys make up a row.
#include <cmath>
#include <vector>

#include "../../kernels/cuda/attention_packed.h"
#include "checks.h"

namespace {

using namespace llama;
using namespace llama::checks;

template <class T>
constexpr double tolerance = 1e-5;
template <>
constexpr double tolerance<Half> = 0x1p-9;
template <>
constexpr double tolerance<Bf16> = 0x1p-6;

struct Case {
  AttentionShape shape;
  std::vector<int32_t> lengths;
  bool aligned;
  float steepness = 1;  // of the scale: what is lost in dq and dk grows with it
};

Case make_case(int heads, int kv_heads, int head_dim, int64_t window, std::vector<int32_t> lengths, bool aligned = true) {
  return {{heads, kv_heads, head_dim, window, 1 / std::sqrt(static_cast<float>(head_dim))}, std::move(lengths), aligned, 1};
}

// Scores so large that the highest of a row grows beyond all before it several times.
Case make_steep_case(std::vector<int32_t> lengths) {
  Case of = make_case(1, 1, 16, 0, std::move(lengths));
  of.steepness = 4;
  of.shape.scale *= of.steepness;
  return of;
}

std::string describe(const Case& of) {
  std::string text = std::to_string(of.shape.heads) + "/" + std::to_string(of.shape.kv_heads) + " heads of " + std::to_string(of.shape.head_dim);
  if (of.shape.window > 0) text += ", window " + std::to_string(of.shape.window);
  text += of.aligned ? ", rows of" : ", unaligned rows of";
  for (size_t i = 0; i < of.lengths.size() && i < 8; ++i) text += " " + std::to_string(of.lengths[i]);
  return text;
}

std::vector<int32_t> offsets_of(const std::vector<int32_t>& lengths) {
  std::vector<int32_t> offsets = {0};
  for (const int32_t length : lengths) offsets.push_back(offsets.back() + length);
  return offsets;
}

using Doubles = std::vector<double>;

// [tokens, width]
struct Table {
  int64_t width;
  Doubles values;
  Table(int64_t tokens, int64_t width_) : width(width_), values(static_cast<size_t>(tokens * width_)) {}
  double& at(int64_t row, int64_t column) { return values[static_cast<size_t>(row * width + column)]; }
};

template <class T>
class Problem {
 public:
  explicit Problem(const Case& of)
      : shape_(of.shape),
        tolerance_(tolerance<T> * of.steepness),
        q_width_(shape_.heads * shape_.head_dim),
        kv_width_(shape_.kv_heads * shape_.head_dim),
        offsets_(offsets_of(of.lengths)),
        rows_{offsets_.data(), static_cast<int64_t>(of.lengths.size()), offsets_.back()},
        qkv_(rows_.tokens, q_width_ + 2 * kv_width_, of.aligned ? 0 : 3, !of.aligned),
        dqkv_(qkv_),
        o_(rows_.tokens, q_width_, of.aligned ? 8 : 5, !of.aligned),
        g_(o_),
        lse_(static_cast<size_t>(rows_.tokens * shape_.heads), NAN),
        scratch_(cuda::attention_packed_backward_scratch_bytes(shape_, rows_.tokens), 0xff) {
    qkv_.fill(std::sqrt(2.0f));
    g_.fill();
    dqkv_.fill(99);
    o_.fill(99);
  }

  void run() {
    const T *q = qkv_.data, *k = q + q_width_, *v = k + kv_width_;
    T *dq = dqkv_.data, *dk = dq + q_width_, *dv = dk + kv_width_;
    cuda::attention_packed<T>(nullptr, shape_, rows_, q, qkv_.ld, k, v, qkv_.ld, o_.data, o_.ld, lse_.data());
    cuda::attention_packed_backward<T>(nullptr, shape_, rows_, q, qkv_.ld, k, v, qkv_.ld, o_.data, o_.ld, lse_.data(), g_.data,
                                       g_.ld, dq, dqkv_.ld, dk, dv, dqkv_.ld, scratch_.data());
  }

  void run_and_check() {
    const Matrix<T> o_before = o_, dqkv_before = dqkv_;
    run();
    Table o(rows_.tokens, q_width_), lse(rows_.tokens, shape_.heads), dqkv(rows_.tokens, qkv_.width);
    for (int64_t row = 0; row < rows_.count; ++row) {
      for (int64_t t = offsets_[static_cast<size_t>(row)]; t < offsets_[static_cast<size_t>(row) + 1]; ++t) {
        for (int64_t head = 0; head < shape_.heads; ++head) attend(offsets_[static_cast<size_t>(row)], t, head, o, lse, dqkv);
      }
    }
    expect_close(o_, o_before, tolerance_, [&](int64_t row, int64_t column) { return o.at(row, column); }, "o");
    expect_close(dqkv_, dqkv_before, tolerance_, [&](int64_t row, int64_t column) { return dqkv.at(row, column); }, "dq, dk, dv");
    // Scores are sums of exact products in float32, of a few tens.
    int off = 0;
    for (size_t i = 0; i < lse_.size(); ++i) off += std::abs(lse_[i] - lse.values[i]) <= 1e-5 ? 0 : 1;
    expect(off == 0, "lse is off in " + std::to_string(off) + " places");
  }

  std::vector<unsigned char> bits() const {
    std::vector<unsigned char> all;
    const auto append = [&](const auto& values) {
      const auto* bytes = reinterpret_cast<const unsigned char*>(values.data());
      all.insert(all.end(), bytes, bytes + values.size() * sizeof values[0]);
    };
    append(o_.memory);
    append(lse_);
    append(dqkv_.memory);
    return all;
  }

 private:
  // One query: its o and lse, and what it gives to the gradients.
  void attend(int64_t begin, int64_t t, int64_t head, Table& o, Table& lse, Table& dqkv) const {
    const int64_t width = shape_.head_dim, q = head * width;
    const int64_t k = q_width_ + head / (shape_.heads / shape_.kv_heads) * width, v = k + kv_width_;
    const int64_t first = shape_.window > 0 ? std::max(begin, t - shape_.window + 1) : begin;
    Doubles weights, products;
    double total = 0, delta = 0;  // delta: of the o that the kernels read, which is rounded
    for (int64_t i = 0; i < width; ++i) delta += g_.value(t, q + i) * o_.value(t, q + i);
    for (int64_t j = first; j <= t; ++j) {
      double score = 0, product = 0;
      for (int64_t i = 0; i < width; ++i) {
        score += qkv_.value(t, q + i) * qkv_.value(j, k + i);
        product += g_.value(t, q + i) * qkv_.value(j, v + i);
      }
      weights.push_back(std::exp(score * shape_.scale));
      products.push_back(product);
      total += weights.back();
    }
    lse.at(t, head) = std::log(total);
    for (int64_t j = first; j <= t; ++j) {
      const double p = weights[static_cast<size_t>(j - first)] / total;
      const double ds = p * (products[static_cast<size_t>(j - first)] - delta) * shape_.scale;
      for (int64_t i = 0; i < width; ++i) {
        o.at(t, q + i) += p * qkv_.value(j, v + i);
        dqkv.at(t, q + i) += ds * qkv_.value(j, k + i);
        dqkv.at(j, k + i) += ds * qkv_.value(t, q + i);
        dqkv.at(j, v + i) += p * g_.value(t, q + i);
      }
    }
  }

  AttentionShape shape_;
  double tolerance_;
  int64_t q_width_, kv_width_;
  std::vector<int32_t> offsets_;
  PackedRows rows_;
  Matrix<T> qkv_, dqkv_, o_, g_;  // q, k and v side by side, as the model has them
  std::vector<float> lse_;
  std::vector<unsigned char> scratch_;
};

// Another order of the threads of a block, and another run, give the same bits.
template <class T>
void test_orders() {
  current = "orders";
  const Case of = make_case(2, 1, 8, 0, {70, 0, 9});
  std::vector<std::vector<unsigned char>> results;
  in_every_order([&] {
    generator.seed(5);
    Problem<T> problem(of);
    problem.run();
    results.push_back(problem.bits());
  });
  expect(results[1] == results[0] && results[2] == results[0], std::string("bits differ, ") + name_of<T>);
}

template <class T>
void test(const std::vector<Case>& cases) {
  for (const Case& of : cases) {
    current = describe(of);
    Problem<T>(of).run_and_check();
  }
  test_orders<T>();
}

}  // namespace

int main() {
  begin();
  std::vector<int32_t> many;  // more than a warp looks at together
  for (int i = 0; i < 70; ++i) many.push_back(static_cast<int32_t>(random_int(0, 3)));
  const std::vector<Case> cases = {
      make_case(1, 1, 64, 0, {1, 2, 63, 0, 64, 65}),
      make_case(4, 1, 16, 34, {0, 130, 20}),
      make_case(2, 1, 128, 0, {65, 0, 3, 31}),
      make_case(4, 2, 80, 0, {33, 1}),
      make_case(1, 1, 96, 18, {70}),
      make_case(1, 1, 8, 95, {140}),
      make_case(2, 2, 6, 0, {0, 130, 0, 0, 2}, false),
      make_case(1, 1, 100, 0, {5, 66}),
      make_case(2, 1, 256, 0, {37}),
      make_case(1, 1, 130, 3, {20}, false),
      make_case(2, 1, 8, 1, {3, 40}),
      make_case(1, 1, 8, 0, many),
      make_case(1, 1, 8, 0, {}),
      make_case(1, 1, 8, 0, {0, 0}),
      make_steep_case({129}),
  };
  test<Bf16>(cases);
  // The types differ in how wide their packs are, and in rounding.
  const std::vector<Case> some = {cases[1], cases[3], cases[6], cases[9], cases[14]};
  test<float>(is_thorough() ? cases : some);
  test<Half>(is_thorough() ? cases : some);
  return report();
}

// Low-rank terms within products of 1 to 8 tokens: what they add to the product alone, against sums in double.
//
// Operands are of order one or less and all sums are float32, so that 1e-5 of the sum of magnitudes is rounding; a missed or
// misplaced element is a thousandth of that sum and more. Results as T are those as float32, rounded.
#include <cmath>
#include <cstring>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "../../kernels/cuda/decode_linear.h"
#include "checks.h"
#include "quantized_values.h"

namespace {

using namespace llama;
using namespace llama::cuda;
using namespace llama::checks;

constexpr DeviceLimits usual{4, size_t{64} << 10};
constexpr DeviceLimits alone{1, size_t{64} << 10};
constexpr DeviceLimits many{64, size_t{64} << 10};
constexpr DeviceLimits cramped{3, size_t{17} << 10};  // no room for x beside the partial sums

struct TermShape {
  int rank;
  int64_t column, out;
};

// An adapter's terms at places 0 (none) and 1, its weights exactly as long as they are.
template <class T>
struct Adapter {
  std::list<Matrix<T>> weights;
  std::vector<LoraTerm<T>> terms;
  int64_t ranks = 0;

  Adapter(int64_t in, const std::vector<TermShape>& shapes, bool shifted) : terms(shapes.size()) {
    for (const TermShape& shape : shapes) {
      weights.emplace_back(shape.rank, in, 0, shifted).fill(1 / std::sqrt(static_cast<float>(in)));
      const T* a = weights.back().data;
      weights.emplace_back(shape.out, shape.rank, 0, shifted).fill();
      terms.push_back({a, weights.back().data, in, shape.out, shape.column, shape.rank, 0.5f + static_cast<float>(shape.rank % 3)});
      ranks += padded_rank(shape.rank);
    }
  }
  LoraRow<T> row() const { return {terms.data(), static_cast<int64_t>(terms.size() / 2)}; }
};

template <class T>
struct Case {
  std::string what;
  WeightView w;
  int tokens;
  Prologue prologue;
  std::vector<const Adapter<T>*> adapters;  // of each token, or null
  Matrix<T> x, up;
  Matrix<float> residual, norm;
  std::vector<LoraRow<T>> rows;
  int64_t ranks = 0;
  std::vector<Meeting> meeting{Meeting{0, 0}};

  Case(std::string name, const WeightView& view, Prologue before, std::vector<const Adapter<T>*> of_token)
      : what(std::move(name)), w(view), tokens(static_cast<int>(of_token.size())), prologue(before), adapters(std::move(of_token)), x(tokens, w.cols, 8), up(tokens, w.cols, 8), residual(tokens, w.cols, 8), norm(1, w.cols) {
    x.fill();
    up.fill();
    residual.fill(3);
    norm.fill();
    for (const Adapter<T>* adapter : adapters) {
      rows.push_back(adapter ? adapter->row() : LoraRow<T>{});
      if (adapter) ranks = std::max(ranks, adapter->ranks);
    }
    what += " tokens " + std::to_string(tokens);
  }

  DecodeInput<T> input(T* made, int64_t ld_made, int token = 0) const {
    const int64_t at = token * x.ld;
    if (prologue == Prologue::none) return DecodeInput<T>::plain(x.data + at, x.ld);
    if (prologue == Prologue::swiglu) return DecodeInput<T>::swiglu(x.data + at, up.data + at, x.ld, made, ld_made);
    return DecodeInput<T>::rms_norm(residual.data + at, residual.ld, norm.data, 1e-5f, made, ld_made, nullptr);
  }
  // u is exactly as long as it has to be.
  DecodeTerms<T> terms(std::vector<float>& u, int token = 0) {
    u.assign(static_cast<size_t>((tokens - token) * ranks), NAN);
    return {rows.data() + token, 1, static_cast<int>(ranks), u.data(), meeting.data()};
  }

  void run() {
    std::vector<float> u;
    Matrix<T> made(tokens, w.cols, 8), made_again = made, rounded(tokens, w.rows, 3), rounded_with = rounded;
    Matrix<float> base(tokens, w.rows, 3), with = base, again = base, sums = base;
    const Matrix<float> start = base;
    expect(decode_linear(nullptr, w, input(made.data, made.ld), {}, tokens, ProductOutput<T>::f32(base.data, base.ld, false), usual), what + ": nothing is left to do without terms");
    const bool added = decode_linear(nullptr, w, input(made_again.data, made.ld), terms(u), tokens, ProductOutput<T>::f32(with.data, with.ld, false), usual);
    finish();
    expect(same_bits(made, made_again), what + ": made rows differ");
    if (!added) return expect(same_bits(base, with), what + ": terms in part");
    ++with_terms;
    const Matrix<T>& from = prologue == Prologue::none ? x : made;
    double worst = 0;
    for (int token = 0; token < tokens; ++token) {
      for (int64_t out = 0; out < w.rows; ++out) worst = std::max(worst, error(token, out, from, base.value(token, out), with.value(token, out)));
    }
    expect(worst <= 1, what + ": off by " + std::to_string(worst) + " of the tolerance");

    decode_linear(nullptr, w, input(made.data, made.ld), terms(u), tokens, ProductOutput<T>::of(rounded.data, rounded.ld), usual);
    finish();
    for (size_t i = 0; i < with.memory.size(); ++i) rounded_with.memory[i] = from_float<T>(with.memory[i]);
    expect(same_bits(rounded, rounded_with), what + ": rounded differently");
    sums.fill();
    const Matrix<float> before = sums;
    decode_linear(nullptr, w, input(made.data, made.ld), terms(u), tokens, ProductOutput<T>::f32(sums.data, sums.ld, true), usual);
    finish();
    expect_close(sums, before, 1e-6, [&](int64_t token, int64_t out) { return before.value(token, out) + with.value(token, out); }, what + ", accumulated");

    for (const DeviceLimits& limits : {cramped, alone, many}) {
      if (tokens > 3 && limits.multiprocessors != cramped.multiprocessors) continue;
      // 64 blocks that run at once take most of this program's time.
      if (tokens > 1 && limits.multiprocessors == many.multiprocessors && !is_thorough()) continue;
      again.memory = start.memory;
      decode_linear(nullptr, w, input(made.data, made.ld), terms(u), tokens, ProductOutput<T>::f32(again.data, again.ld, false), limits);
      finish();
      expect(same_bits(again, with), what + ": differs on " + std::to_string(limits.multiprocessors) + " multiprocessors");
    }
    again.memory = start.memory;
    const int last = tokens - 1;
    decode_linear(nullptr, w, input(nullptr, 0, last), terms(u, last), 1, ProductOutput<T>::f32(again.data + last * again.ld, again.ld, false), usual);
    finish();
    expect(std::memcmp(again.data + last * again.ld, with.data + last * with.ld, static_cast<size_t>(w.rows) * 4) == 0, what + ": a token alone differs");
#if defined(LLAMA_CUDA_EMULATED)
    again.memory = start.memory;
    emulated::grid.in_time = false;
    decode_linear(nullptr, w, input(made.data, made.ld), terms(u), tokens, ProductOutput<T>::f32(again.data, again.ld, false), usual);
    emulated::grid.in_time = true;
    expect(same_bits(again, with), what + ": differs where blocks do not meet");
#endif
    expect(meeting[0].arrived == 0 && meeting[0].left == 0, what + ": the meeting is not over");
  }

  // Of with[token, out] where the product alone gives base, in units of the tolerance.
  double error(int token, int64_t out, const Matrix<T>& from, double base, double with) const {
    double sum = base, magnitude = std::abs(base);
    const Adapter<T>* adapter = adapters[static_cast<size_t>(token)];
    for (size_t i = 0; adapter != nullptr && i < adapter->terms.size(); ++i) {
      const LoraTerm<T>& term = adapter->terms[i];
      const int64_t row = out - term.column;
      if (row < 0 || row >= term.out) continue;
      for (int r = 0; r < term.rank; ++r) {
        double of_a = 0, most = 0;
        for (int64_t k = 0; k < w.cols; ++k) {
          const double product = from.value(token, k) * static_cast<double>(to_float(term.a[r * term.in + k]));
          of_a += product;
          most += std::abs(product);
        }
        const double b = term.scale * static_cast<double>(to_float(term.b[row * term.rank + r]));
        sum += of_a * b;
        magnitude += most * std::abs(b);
      }
    }
    const double gap = std::abs(with - sum) / (1e-5 * magnitude + 1e-7);
    return gap == gap ? gap : INFINITY;
  }

  static inline int with_terms = 0;
};

// Terms of every rank, beside one another and apart, for a part of the columns and for none, and rows without an adapter.
template <class T>
void test_shape(const std::string& name, const WeightView& w, bool shifted = false) {
  const int64_t third = w.rows / 3;
  const Adapter<T> usual_ranks(w.cols, {{16, 0, third}, {16, third, third}, {16, 2 * third, w.rows - 2 * third}}, shifted);
  const Adapter<T> odd(w.cols, {{3, 1, third}, {9, third + 2, w.rows - third - 2}}, shifted);
  const Adapter<T> one(w.cols, {{40, 0, w.rows}}, shifted);
  const Adapter<T> four(w.cols, {{1, 0, 1}, {8, 1, 1}, {24, 2, w.rows - 2}, {8, 0, w.rows}}, shifted);
  const auto test = [&](Prologue prologue, std::vector<const Adapter<T>*> adapters) { Case<T>(name + " " + std::to_string(w.rows) + "x" + std::to_string(w.cols), w, prologue, std::move(adapters)).run(); };
  test(Prologue::rms_norm, {&usual_ranks});
  test(Prologue::swiglu, {&one, &one});
  test(Prologue::none, {&odd, nullptr, &four});
  test(Prologue::rms_norm, {nullptr, &four, &usual_ranks, &usual_ranks, nullptr, &odd, &one, &usual_ranks});
}

template <class T>
void test_plain(int64_t rows, int64_t cols, bool shifted = false) {
  Matrix<T> weights(rows, cols);
  weights.fill(0.5f);
  test_shape<T>(name_of<T>, WeightView::plain(storage_of<T>, weights.data, rows, cols), shifted);
}

template <class T>
void test_quantized(Quantization kind, int64_t rows, int64_t cols) {
  std::vector<float> floats(static_cast<size_t>(rows * cols));
  std::normal_distribution<float> normal(0, 0.5f);
  for (float& value : floats) value = normal(generator);
  const auto matrix = std::make_unique<reference::QuantizedMatrix>(reference::quantize(floats.data(), rows, cols, kind, kind == Quantization::nf4));
  test_shape<T>(std::string(name_of<T>) + " on codes", WeightView::of(view_of(*matrix)));
}

// Every order of threads; several tiles of every block and several packs of every thread.
void test_orders() {
  Matrix<Bf16> weights(90, 256), wide(24, 4480);
  weights.fill(0.5f);
  wide.fill(0.5f);
  in_every_order([&] {
    const Adapter<Bf16> adapter(256, {{16, 0, 40}, {5, 40, 50}}, false), other(256, {{8, 3, 80}}, false);
    Case<Bf16>("in order", WeightView::plain(StorageType::bf16, weights.data, 90, 256), Prologue::rms_norm, {&adapter, &other, nullptr}).run();
  });
  const Adapter<Bf16> adapter(4480, {{16, 0, 24}}, false);
  Case<Bf16>("wide", WeightView::plain(StorageType::bf16, wide.data, 24, 4480), Prologue::swiglu, {&adapter}).run();
}

}  // namespace

int main() {
  begin();
  test_plain<Bf16>(53, 264);
  test_plain<Bf16>(48, 72, true);
  test_plain<Half>(96, 64);
  test_quantized<Bf16>(Quantization::int8, 40, 128);
  test_quantized<Half>(Quantization::int4, 33, 192);
  test_quantized<Bf16>(Quantization::nf4, 48, 192);
  test_orders();
  expect(Case<Bf16>::with_terms == 20 && Case<Half>::with_terms == 8, "the products add their terms");
  // What is not on tensor cores leaves the terms to others.
  test_plain<float>(16, 64);
  test_plain<Bf16>(16, 77);
  expect(Case<float>::with_terms == 0 && Case<Bf16>::with_terms == 20, "terms where there are no tensor cores");
  return report();
}

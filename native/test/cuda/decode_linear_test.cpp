// Products of 1 to 8 tokens with every kind of frozen weights, prologue and layout, against sums in double.
//
// The numbers that a product is compared on are exactly its operands: x as T (of a prologue: the rows it kept, which are
// compared by themselves), weights as the kernel multiplies them (NF4's values rounded to T on tensor cores). What remains are
// float32 sums, off by 2e-6 of the sum of magnitudes at most, and the rounding of the result to T. A missed or misplaced
// element is a thousandth of that sum and more.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "../../kernels/cuda/decode_linear.h"
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

enum class Kind { f32, f16, bf16, int8, int4, int4_twice, nf4, nf4_twice };
constexpr Kind all_kinds[] = {Kind::f32, Kind::f16, Kind::bf16, Kind::int8, Kind::int4, Kind::int4_twice, Kind::nf4, Kind::nf4_twice};
const char* name_of(Kind kind) {
  constexpr const char* names[] = {"f32", "f16", "bf16", "int8", "int4", "int4 twice", "nf4", "nf4 twice"};
  return names[static_cast<int>(kind)];
}

struct Weights {
  WeightView view;
  std::vector<double> values;  // as they are multiplied
  std::vector<unsigned char> plain;
  reference::QuantizedMatrix quantized;

  // nf4 values are those of `Value` where the matrix is read by tensor cores.
  template <class T>
  static std::unique_ptr<Weights> make(Kind kind, int64_t rows, int64_t cols, bool shifted) {
    auto w = std::make_unique<Weights>();
    Floats floats = random_floats(rows * cols, 0.5f);
    for (size_t i = 64; i < std::min<size_t>(floats.size(), 128); ++i) floats[i] = 0;  // a block of zeros
    w->values.resize(floats.size());
    if (kind == Kind::f32 || kind == Kind::f16 || kind == Kind::bf16) {
      const StorageType type = kind == Kind::f32 ? StorageType::f32 : kind == Kind::f16 ? StorageType::f16 : StorageType::bf16;
      const size_t element = type == StorageType::f32 ? 4 : 2, start = shifted ? element : 0;
      w->plain.resize(floats.size() * element + start);
      for (size_t i = 0; i < floats.size(); ++i) {
        const uint16_t half = kind == Kind::f16 ? f16_from_f32(floats[i]) : bf16_from_f32(floats[i]);
        if (element == 4) std::memcpy(&w->plain[start + i * 4], &floats[i], 4);
        if (element == 2) std::memcpy(&w->plain[start + i * 2], &half, 2);
        w->values[i] = load_element(w->plain.data() + start, type, static_cast<int64_t>(i));
      }
      w->view = WeightView::plain(type, w->plain.data() + start, rows, cols);
      return w;
    }
    const Quantization quantization = kind == Kind::int8 ? Quantization::int8 : kind == Kind::int4 || kind == Kind::int4_twice ? Quantization::int4 : Quantization::nf4;
    const bool twice = kind == Kind::int4_twice || kind == Kind::nf4_twice;
    reference::QuantizedMatrix& matrix = w->quantized = reference::quantize(floats.data(), rows, cols, quantization, twice);
    w->view = WeightView::of(checks::view_of(matrix));
    const bool tensor = sizeof(T) == 2 && cols % 64 == 0 && quantization == Quantization::nf4;
    w->values = tensor ? checks::rounded_values_of<T>(matrix) : checks::values_of(matrix);
    return w;
  }
};

constexpr DeviceLimits usual{4, size_t{64} << 10};
constexpr DeviceLimits cramped{3, size_t{17} << 10};  // no room for x beside the partial sums
DeviceLimits roomy() { return {1, checks::shared_bytes(size_t{227} << 10)}; }

template <class T>
struct Case {
  std::string what;
  const Weights& w;
  int64_t rows, cols;
  int tokens;
  Prologue prologue;
  int64_t gap;
  bool shifted;
  std::vector<T> a, b;  // x, or gate and up
  Floats residual, norm;
  int64_t ld;

  Case(std::string what_, const Weights& w_, int tokens_, Prologue prologue_, int64_t gap_, bool shifted_)
      : what(std::move(what_)), w(w_), rows(w_.view.rows), cols(w_.view.cols), tokens(tokens_), prologue(prologue_), gap(gap_), shifted(shifted_), ld(cols + gap_) {
    const int64_t size = (tokens - 1) * ld + cols + (shifted ? 1 : 0);
    a = rounded<T>(random_floats(size));
    b = rounded<T>(random_floats(size));
    residual = random_floats(size, 3);
    norm = random_floats(cols + (shifted ? 1 : 0));
    what += " " + std::to_string(rows) + "x" + std::to_string(cols) + " tokens " + std::to_string(tokens) + (shifted ? " shifted" : "");
  }

  DecodeInput<T> input(T* made, float* inverse, int token = 0) const {
    const int64_t at = (shifted ? 1 : 0) + token * ld;
    if (prologue == Prologue::none) return DecodeInput<T>::plain(a.data() + at, ld);
    if (prologue == Prologue::swiglu) return DecodeInput<T>::swiglu(a.data() + at, b.data() + at, ld, made, ld);
    return DecodeInput<T>::rms_norm(residual.data() + at, ld, norm.data() + (shifted ? 1 : 0), 1e-5f, made, ld, inverse);
  }

  void check_made(const std::vector<T>& made, const Floats& inverse) const {
    double worst = 0;
    for (int token = 0; token < tokens; ++token) {
      const size_t first = static_cast<size_t>(token * ld + (shifted ? 1 : 0));
      double squares = 0;
      for (int64_t k = 0; k < cols; ++k) squares += static_cast<double>(residual[first + k]) * residual[first + k];
      const double r = 1 / std::sqrt(squares / static_cast<double>(cols) + 1e-5);
      if (prologue == Prologue::rms_norm) worst = std::max(worst, std::abs(inverse[token] - r) / r / 4e-6);
      for (int64_t k = 0; k < cols; ++k) {
        const double gate = to_float(a[first + k]);
        const double right = prologue == Prologue::rms_norm ? residual[first + k] * r * norm[k + (shifted ? 1 : 0)] : gate / (1 + std::exp(-gate)) * to_float(b[first + k]);
        worst = std::max(worst, std::abs(to_float(made[first + k]) - right) / ((half_unit<T> + 4e-6) * std::abs(right) + 1e-7));
      }
    }
    expect(worst <= 1, what + ": made rows are off by " + std::to_string(worst) + " of the tolerance");
  }

  // y [tokens, rows] against x [tokens, cols] (in the layout of a).
  template <class Y>
  void check_product(const std::vector<Y>& y, int64_t ldy, const std::vector<T>& x, const std::vector<Y>& before, bool accumulate, const std::string& how, double of_weights = 0) const {
    double worst = 0;
    std::vector<Y> rest = y;
    for (int token = 0; token < tokens; ++token) {
      for (int64_t row = 0; row < rows; ++row) {
        double sum = accumulate ? to_float(before[token * ldy + row]) : 0.0, magnitude = std::abs(sum);
        for (int64_t k = 0; k < cols; ++k) {
          const double product = w.values[row * cols + k] * to_float(x[static_cast<size_t>(token * ld + (shifted ? 1 : 0) + k)]);
          sum += product;
          magnitude += std::abs(product);
        }
        const double gap_here = std::abs(to_float(y[token * ldy + row]) - sum) / ((2e-6 + of_weights) * magnitude + half_unit<Y> * std::abs(sum) + 1e-7);
        if (!(gap_here <= worst)) worst = gap_here;
        rest[token * ldy + row] = before[token * ldy + row];
      }
    }
    expect(worst <= 1, what + how + ": off by " + std::to_string(worst) + " of the tolerance");
    expect(same(rest, before), what + how + ": wrote between the rows");
  }

  void run() const {
    const int64_t ldy = rows + 3;
    const std::vector<T> start_rounded = rounded<T>(random_floats((tokens - 1) * ldy + rows));
    const Floats start = random_floats((tokens - 1) * ldy + rows);
    std::vector<T> made(a.size()), y = start_rounded;
    Floats inverse(static_cast<size_t>(tokens));
    const DecodeInput<T> kept = input(made.data() + (shifted ? 1 : 0), inverse.data());
    decode_linear(nullptr, w.view, kept, {}, tokens, ProductOutput<T>::of(y.data(), ldy), usual);
    if (prologue != Prologue::none) check_made(made, inverse);
    const std::vector<T>& x = prologue == Prologue::none ? a : made;
    check_product(y, ldy, x, start_rounded, false, "");

    Floats sums = start, over = start;
    decode_linear(nullptr, w.view, kept, {}, tokens, ProductOutput<T>::f32(sums.data(), ldy, true), usual);
    check_product(sums, ldy, x, start, true, ", accumulated");
    decode_linear(nullptr, w.view, kept, {}, tokens, ProductOutput<T>::f32(over.data(), ldy, false), usual);
    check_product(over, ldy, x, start, false, ", float32");

    // Nothing kept, other grids, x from global memory, a token alone: the same bits.
    Floats again = start;
    decode_linear(nullptr, w.view, input(nullptr, nullptr), {}, tokens, ProductOutput<T>::f32(again.data(), ldy, false), roomy());
    expect(same(again, over), what + ": differs where rows are not kept");
    again = start;
    std::vector<T> made_again(a.size());
    decode_linear(nullptr, w.view, input(made_again.data() + (shifted ? 1 : 0), inverse.data()), {}, tokens, ProductOutput<T>::f32(again.data(), ldy, false), cramped);
    // Rows that cannot be read in packs go another way then, where NF4's values are not rounded.
    if (shifted || gap % 8 != 0) {
      check_product(again, ldy, x, start, false, ", cramped", sizeof(T) == 2 ? half_unit<T> : 0);
    } else {
      expect(same(again, over), what + ": differs where x is read from global memory");
    }
    expect(prologue == Prologue::none || same(made_again, made), what + ": made differently");
    if (tokens == 1) return;
    const int last = tokens - 1;
    Floats alone = start;
    decode_linear(nullptr, w.view, input(nullptr, nullptr, last), {}, 1, ProductOutput<T>::f32(alone.data() + last * ldy, ldy, false), usual);
    expect(std::memcmp(alone.data() + last * ldy, over.data() + last * ldy, static_cast<size_t>(rows) * 4) == 0, what + ": a token alone differs");
  }
};

constexpr const char* prologue_names[] = {"", " norm", " swiglu"};

template <class T>
void test_shape(const char* type, int64_t rows, int64_t cols, int tokens, Kind kind, Prologue prologue, int64_t gap, bool shifted) {
  const auto w = Weights::make<T>(kind, rows, cols, shifted);
  Case<T>(std::string(type) + " on " + name_of(kind) + prologue_names[static_cast<int>(prologue)], *w, tokens, prologue, gap, shifted).run();
}

template <class T>
void test_type(const char* type, Kind own) {
  int i = 0;
  for (const Kind kind : all_kinds) {
    // Numbers of tokens and prologues take turns over all shapes and kinds.
    const auto test = [&](int64_t rows, int64_t cols, int64_t gap, bool shifted) {
      constexpr int tokens[] = {1, 2, 3, 5, 8};
      test_shape<T>(type, rows, cols, tokens[i % 5], kind, static_cast<Prologue>(i % 3), gap, shifted);
      ++i;
    };
    test(5, 40, 1, false);
    if (kind < Kind::int8 && kind != own) continue;
    test(1, 1, 0, false);
    test(9, 77, 2, true);
    test(37, 64, 8, false);
    test(16, 192, 3, i % 2 == 0);
    test(33, 1088, 0, false);
    test(17, 72, 0, false);
  }
}

// Several rounds of every warp, tiles that follow one another, and every order of threads.
template <class T>
void test_large(const char* type, Kind kind, Prologue prologue) {
  test_shape<T>(type, 20, 4480, 3, kind, prologue, 0, false);
  checks::in_every_order([&] { test_shape<T>(type, 90, 256, 5, kind, prologue, 0, false); });
}

void test_limits() {
  expect(limits_of(7, 5, 40).shared_bytes == 65536 && limits_of(8, 0, 108).shared_bytes == 166912, "shared memory of 7.5 and 8.0");
  expect(limits_of(8, 9, 128).shared_bytes == 101376 && limits_of(9, 0, 132).shared_bytes == 232448, "shared memory of 8.9 and 9.0");
}

}  // namespace

int main() {
  checks::begin();
  test_type<float>("f32", Kind::f32);
  test_type<Bf16>("bf16", Kind::bf16);
  test_type<Half>("f16", Kind::f16);
  test_large<float>("f32", Kind::f32, Prologue::rms_norm);
  test_large<Bf16>("bf16", Kind::bf16, Prologue::swiglu);
  test_large<Half>("f16", Kind::int8, Prologue::none);
  test_large<Bf16>("bf16", Kind::int4_twice, Prologue::rms_norm);
  test_large<Half>("f16", Kind::nf4, Prologue::rms_norm);
  test_limits();
  return checks::report();
}

// Row operations, norms and dropout of the CUDA kernels, against double-precision loops.
//
// Tolerances: operands are of order one and the float32 arithmetic between loading and storing is a few operations or a sum
// of at most 20,000 products in a tree, so 2e-5 is rounding; results in 16 bits are rounded once more (checks.h). A wrong
// index or element is 1e-2 and more. Copies, casts, sums of two and dropout are exact.
#include <type_traits>

#include "../../kernels/cuda/dropout.h"
#include "../../kernels/cuda/norm.h"
#include "../../kernels/cuda/packs.h"
#include "../../kernels/cuda/philox.h"
#include "../../kernels/cuda/rows.h"
#include "../../kernels/dropout.h"
#include "checks.h"

namespace {

using namespace llama;
using namespace llama::checks;

constexpr double tolerance = 2e-5;

// Sizes that take packs, sizes that do not, and aligned sizes at an address that is not.
struct Shape {
  int64_t rows, width, gap;
  bool shifted;
};
const Shape shapes[] = {{1, 1, 0, false}, {3, 7, 2, false}, {5, 8, 8, false}, {2, 96, 0, true}, {9, 104, 16, false}, {2, 1032, 0, false}, {1, 2111, 1, false}, {70, 24, 8, false}};

std::string describe(const Shape& shape) {
  return std::to_string(shape.rows) + "x" + std::to_string(shape.width) + "+" + std::to_string(shape.gap) + (shape.shifted ? " shifted" : "");
}

template <class T>
Matrix<T> matrix(const Shape& shape, float scale = 1) {
  Matrix<T> result(shape.rows, shape.width, shape.gap, shape.shifted);
  result.fill(scale);
  return result;
}

template <class T>
void test_rms_norm(const Shape& shape) {
  const std::string what = "rms_norm " + describe(shape);
  const auto x = matrix<float>(shape), w = matrix<float>({1, shape.width, 0, shape.shifted});
  auto y = matrix<T>(shape);
  const auto before = y;
  std::vector<float> inverse(static_cast<size_t>(shape.rows));
  cuda::rms_norm(nullptr, x.data, x.ld, w.data, 1e-5f, shape.rows, shape.width, y.data, y.ld, inverse.data());
  std::vector<double> r(inverse.size());
  double off = 0;
  for (int64_t row = 0; row < shape.rows; ++row) {
    double squares = 0;
    for (int64_t i = 0; i < shape.width; ++i) squares += x.value(row, i) * x.value(row, i);
    r[row] = 1 / std::sqrt(squares / static_cast<double>(shape.width) + 1e-5);
    off = std::max(off, std::abs(inverse[row] / r[row] - 1));
  }
  expect(off <= tolerance, what + ": inverse is off by " + std::to_string(off));
  expect_close(y, before, tolerance, [&](int64_t row, int64_t i) { return x.value(row, i) * r[row] * w.value(0, i); }, what);
  auto without = before;
  cuda::rms_norm(nullptr, x.data, x.ld, w.data, 1e-5f, shape.rows, shape.width, without.data, y.ld, nullptr);
  expect(same_bits(without, y), what + ": same without the inverse");

  const auto g = matrix<T>(shape);
  auto dx = matrix<float>(shape);
  const auto start = dx;
  cuda::rms_norm_backward(nullptr, g.data, g.ld, x.data, x.ld, w.data, inverse.data(), shape.rows, shape.width, dx.data, dx.ld);
  std::vector<double> mean(inverse.size());
  for (int64_t row = 0; row < shape.rows; ++row) {
    for (int64_t i = 0; i < shape.width; ++i) mean[row] += g.value(row, i) * w.value(0, i) * x.value(row, i) / static_cast<double>(shape.width);
  }
  const auto expected = [&](int64_t row, int64_t i) {
    return start.value(row, i) + r[row] * g.value(row, i) * w.value(0, i) - x.value(row, i) * r[row] * r[row] * r[row] * mean[row];
  };
  expect_close(dx, start, tolerance, expected, what + " backward of " + name_of<T>);
}

template <class T>
void test_swiglu(const Shape& shape) {
  const std::string what = "swiglu " + describe(shape);
  // Gate and up are halves of one row, as the stacked projection leaves them; the exponential's ends are among them.
  Matrix<T> both(shape.rows, 2 * shape.width, shape.gap, shape.shifted);
  both.fill(3);
  both.at(0, 0) = cuda::from_float<T>(200);
  both.at(shape.rows - 1, shape.width - 1) = cuda::from_float<T>(-200);
  const auto a = [&](int64_t row, int64_t i) { return both.value(row, i); };
  const auto b = [&](int64_t row, int64_t i) { return both.value(row, shape.width + i); };
  const auto sigmoid = [&](int64_t row, int64_t i) { return 1 / (1 + std::exp(-a(row, i))); };
  auto h = matrix<T>(shape);
  const auto before = h;
  cuda::swiglu(nullptr, both.data, both.data + shape.width, both.ld, shape.rows, shape.width, h.data, h.ld);
  expect_close(h, before, tolerance, [&](int64_t row, int64_t i) { return a(row, i) * sigmoid(row, i) * b(row, i); }, what);

  const auto dh = matrix<T>(shape);
  auto gradients = both;  // in place
  cuda::swiglu_backward(nullptr, dh.data, dh.ld, gradients.data, gradients.data + shape.width, gradients.ld, shape.rows, shape.width, gradients.data, gradients.data + shape.width, gradients.ld);
  const auto expected = [&](int64_t row, int64_t column) {
    const int64_t i = column % shape.width;
    const double g = dh.value(row, i), s = sigmoid(row, i);
    return column < shape.width ? g * b(row, i) * s * (1 + a(row, i) * (1 - s)) : g * a(row, i) * s;
  };
  expect_close(gradients, both, tolerance, expected, what + " backward");
  auto apart = both;
  cuda::swiglu_backward(nullptr, dh.data, dh.ld, both.data, both.data + shape.width, both.ld, shape.rows, shape.width, apart.data, apart.data + shape.width, apart.ld);
  expect(same_bits(apart, gradients), what + " backward: in place as elsewhere");
}

template <class T>
void test_add_and_cast(const Shape& shape) {
  const auto x = matrix<T>(shape);
  auto y = matrix<T>(shape), sums = y;
  cuda::add(nullptr, x.data, x.ld, y.data, y.ld, shape.rows, shape.width);
  const auto wide = matrix<float>(shape);
  auto narrow = matrix<T>(shape), rounded = narrow;
  cuda::cast(nullptr, wide.data, wide.ld, narrow.data, narrow.ld, shape.rows, shape.width);
  for (int64_t row = 0; row < shape.rows; ++row) {
    for (int64_t i = 0; i < shape.width; ++i) {
      sums.at(row, i) = cuda::from_float<T>(static_cast<float>(sums.value(row, i)) + static_cast<float>(x.value(row, i)));
      rounded.at(row, i) = cuda::from_float<T>(static_cast<float>(wide.value(row, i)));
    }
  }
  expect(same_bits(y, sums), "add " + describe(shape) + " " + name_of<T>);
  expect(same_bits(narrow, rounded), "cast " + describe(shape) + " " + name_of<T>);
}

template <class T>
void test_dropout(const Shape& shape) {
  const auto x = matrix<T>(shape);
  const uint64_t seed = 0x123456789abcdefULL;
  for (const float p : {0.0f, 0.05f, 0.5f}) {
    auto y = matrix<T>(shape), expected = y, in_place = x;
    cuda::dropout(nullptr, x.data, x.ld, y.data, y.ld, shape.rows, shape.width, p, seed, 7, 30);
    cuda::dropout(nullptr, in_place.data, x.ld, in_place.data, x.ld, shape.rows, shape.width, p, seed, 7, 30);
    bool same = true;
    for (int64_t row = 0; row < shape.rows; ++row) {
      for (int64_t i = 0; i < shape.width; ++i) {
        const auto element = static_cast<uint64_t>(row * shape.width + i);
        const bool kept = dropout_keeps(dropout_words(element / 4, seed, 7, 30)[element % 4], p);
        expected.at(row, i) = cuda::from_float<T>(kept ? static_cast<float>(x.value(row, i)) * (1.0f / (1.0f - p)) : 0.0f);
        same = same && in_place.value(row, i) == expected.value(row, i);
      }
    }
    expect(same_bits(y, expected), "dropout " + describe(shape) + " " + name_of<T>);
    expect(same, "dropout in place " + describe(shape) + " " + name_of<T>);
  }
}

template <class E>
void test_embed(const Shape& shape) {
  const auto table = matrix<E>({11, shape.width, 0, shape.shifted});
  std::vector<int32_t> ids(static_cast<size_t>(shape.rows));
  for (int32_t& id : ids) id = static_cast<int32_t>(random_int(0, 10));
  ids.back() = 10;
  auto x = matrix<float>(shape), expected = x;
  cuda::embed(nullptr, table.data, shape.width, ids.data(), shape.rows, x.data, x.ld);
  for (int64_t row = 0; row < shape.rows; ++row) {
    for (int64_t i = 0; i < shape.width; ++i) expected.at(row, i) = static_cast<float>(table.value(ids[row], i));
  }
  expect(same_bits(x, expected), "embed " + describe(shape) + " " + name_of<E>);
}

void test_moved_rows(const Shape& shape) {
  const int64_t all = shape.rows + 3;
  std::vector<int32_t> rows(static_cast<size_t>(all));
  for (int64_t i = 0; i < all; ++i) rows[i] = static_cast<int32_t>(i);
  std::shuffle(rows.begin(), rows.end(), generator);
  rows.resize(static_cast<size_t>(shape.rows));
  const auto from = matrix<float>({all, shape.width, 0, shape.shifted});
  auto to = matrix<float>({shape.rows, shape.width, 0, false}), gathered = to;
  cuda::gather_rows(nullptr, from.data, rows.data(), shape.rows, shape.width, to.data);
  auto back = matrix<float>({all, shape.width, 0, shape.shifted}), scattered = back;
  cuda::scatter_rows(nullptr, to.data, rows.data(), shape.rows, shape.width, back.data);
  for (int64_t row = 0; row < shape.rows; ++row) {
    for (int64_t i = 0; i < shape.width; ++i) gathered.at(row, i) = scattered.at(rows[row], i) = static_cast<float>(from.value(rows[row], i));
  }
  expect(same_bits(to, gathered), "gather_rows " + describe(shape));
  expect(same_bits(back, scattered), "scatter_rows " + describe(shape));
}

// One operand at a time starts where no pack is aligned, the others where all are: the same results. (A pack that is read
// there all the same is for the sanitizer to see.)
template <class T>
void test_alignment() {
  const int64_t rows = 2, width = 64;
  const auto check = [&](const char* what, int operands, auto result_type, auto run) {
    using R = decltype(result_type);
    std::vector<Matrix<R>> results;
    for (int shifted = -1; shifted < operands; ++shifted) {
      generator.seed(5);
      const auto shift = [&](int operand) { return Shape{rows, width, 8, operand == shifted}; };
      Matrix<R> result(rows, width);
      const Matrix<R> written = run(shift);
      for (int64_t row = 0; row < rows; ++row) {
        for (int64_t i = 0; i < width; ++i) result.at(row, i) = written.data[row * written.ld + i];
      }
      results.push_back(result);
      expect_close(results.back(), results.back(), tolerance, [&](int64_t row, int64_t i) { return results[0].value(row, i); }, std::string(what) + " with operand " + std::to_string(shifted) + " shifted");
    }
  };
  // Operands are filled before the shift shows: the memory in front of a shifted one is not drawn for.
  const auto filled = [](auto type, const Shape& shape) {
    Matrix<decltype(type)> result(shape.rows, shape.width, shape.gap, shape.shifted);
    std::normal_distribution<float> normal;
    for (int64_t i = 0; i < (shape.rows - 1) * result.ld + shape.width; ++i) result.data[i] = cuda::from_float<decltype(type)>(normal(generator));
    return result;
  };
  check("swiglu", 3, T{}, [&](auto shift) {
    auto gate = filled(T{}, shift(0)), up = filled(T{}, shift(1)), h = filled(T{}, shift(2));
    cuda::swiglu(nullptr, gate.data, up.data, gate.ld, rows, width, h.data, h.ld);
    return h;
  });
  for (const bool second : {false, true}) {
    check("swiglu_backward", 5, T{}, [&](auto shift) {
      auto dh = filled(T{}, shift(0)), gate = filled(T{}, shift(1)), up = filled(T{}, shift(2)), d_gate = filled(T{}, shift(3)), d_up = filled(T{}, shift(4));
      cuda::swiglu_backward(nullptr, dh.data, dh.ld, gate.data, up.data, gate.ld, rows, width, d_gate.data, d_up.data, d_gate.ld);
      return second ? d_up : d_gate;
    });
  }
  check("add", 2, T{}, [&](auto shift) {
    auto x = filled(T{}, shift(0)), y = filled(T{}, shift(1));
    cuda::add(nullptr, x.data, x.ld, y.data, y.ld, rows, width);
    return y;
  });
  check("cast", 2, T{}, [&](auto shift) {
    auto x = filled(float{}, shift(0));
    auto y = filled(T{}, shift(1));
    cuda::cast(nullptr, x.data, x.ld, y.data, y.ld, rows, width);
    return y;
  });
  check("dropout", 2, T{}, [&](auto shift) {
    auto x = filled(T{}, shift(0)), y = filled(T{}, shift(1));
    cuda::dropout(nullptr, x.data, x.ld, y.data, y.ld, rows, width, 0.3f, 1, 2, 3);
    return y;
  });
  check("embed", 2, float{}, [&](auto shift) {
    auto table = filled(T{}, {rows, width, 0, shift(0).shifted});
    auto x = filled(float{}, shift(1));
    const std::vector<int32_t> ids = {1, 0};
    cuda::embed(nullptr, table.data, width, ids.data(), rows, x.data, x.ld);
    return x;
  });
  check("rms_norm", 3, T{}, [&](auto shift) {
    auto x = filled(float{}, shift(0)), w = filled(float{}, shift(1));
    auto y = filled(T{}, shift(2));
    cuda::rms_norm(nullptr, x.data, x.ld, w.data, 1e-5f, rows, width, y.data, y.ld, nullptr);
    return y;
  });
  check("rms_norm_backward", 4, float{}, [&](auto shift) {
    auto g = filled(T{}, shift(0));
    auto x = filled(float{}, shift(1)), w = filled(float{}, shift(2)), dx = filled(float{}, shift(3));
    const std::vector<float> inverse = {0.8f, 1.1f};
    cuda::rms_norm_backward(nullptr, g.data, g.ld, x.data, x.ld, w.data, inverse.data(), rows, width, dx.data, dx.ld);
    return dx;
  });
  check("gather_rows", 2, float{}, [&](auto shift) {
    auto from = filled(float{}, {rows, width, 0, shift(0).shifted}), to = filled(float{}, {rows, width, 0, shift(1).shifted});
    const std::vector<int32_t> order = {1, 0};
    cuda::gather_rows(nullptr, from.data, order.data(), rows, width, to.data);
    return to;
  });
}

#if defined(LLAMA_CUDA_EMULATED)  // the card's own function; there dropout shows it
void test_philox() {
  for (int i = 0; i < 100; ++i) {
    uint32_t c[4];
    for (uint32_t& word : c) word = generator();
    const uint64_t seed = (uint64_t{generator()} << 32) | generator();
    const auto device = cuda::philox_block({{c[0], c[1], c[2], c[3]}}, seed);
    const auto host = philox_4x32_10({c[0], c[1], c[2], c[3]}, static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
    expect(std::equal(host.begin(), host.end(), device.at), "philox");
  }
}
#endif

template <class T>
void test_all() {
  for (const Shape& shape : shapes) {
    test_rms_norm<T>(shape);
    test_swiglu<T>(shape);
    test_add_and_cast<T>(shape);
    test_dropout<T>(shape);
    test_embed<T>(shape);
  }
}

// Rows of so many elements that their packs are more blocks than a grid has in y: 70 million, as the parameters of a large
// adapter are when they are rounded.
void test_grid_limits() {
  current = "grid limits";
  for (const int64_t packs : {int64_t{1}, int64_t{65535} * 256, int64_t{65535} * 256 + 1, int64_t{1} << 30, int64_t{1} << 38}) {
    for (const int64_t rows : {int64_t{1}, int64_t{1} << 20}) {
      const auto [grid, block] = cuda::row_grid(rows, packs);
      const dim3 blocks = cuda::checked(grid);
      const std::string what = std::to_string(rows) + " x " + std::to_string(packs) + " packs";
      expect(int64_t{blocks.x} * block.y >= rows && int64_t{blocks.y} * blocks.z * block.x >= packs, what + " have a thread each");
    }
  }
  for (const cuda::Grid& grid : {cuda::Grid{int64_t{1} << 31}, cuda::Grid{1, 65536}, cuda::Grid{1, 1, 65536}, cuda::Grid{(int64_t{1} << 32) + 1}}) {
    std::string message;
    try {
      cuda::checked(grid);
    } catch (const EngineError& error) {
      message = error.what();
    }
    expect(message.find(std::to_string(grid.x) + " x " + std::to_string(grid.y)) != std::string::npos, "a launch beyond a grid's limits is refused by its size");
  }
#if defined(LLAMA_CUDA_EMULATED)
  // The same with a grid of three blocks in y, so that it takes thousands of threads and not millions.
  emulated::most_blocks_y = 3;
  for (const Shape& shape : {Shape{1, 7777, 0, false}, Shape{2, 4097, 1, false}, Shape{3, 8200, 8, true}}) {
    test_add_and_cast<float>(shape);
    test_add_and_cast<Bf16>(shape);
    test_swiglu<Half>(shape);
    test_dropout<Bf16>(shape);
    test_embed<float>(shape);
    test_moved_rows(shape);
  }
  emulated::most_blocks_y = 65535;
#endif
}

}  // namespace

int main() {
  begin();
  in_every_order([] {
    test_all<float>();
    test_all<Bf16>();
    test_all<Half>();
    for (const Shape& shape : shapes) test_moved_rows(shape);
  });
  current = "alignment";
#if defined(LLAMA_CUDA_EMULATED)
  test_philox();
#endif
  test_alignment<float>();
  test_alignment<Bf16>();
  test_alignment<Half>();
  // More than the threads of a block hold between the two passes of a norm, in packs and alone.
  current = "wide";
  test_rms_norm<Bf16>({1, 16384 + 400, 0, false});
  test_rms_norm<Half>({1, 4096 + 333, 0, false});
  test_grid_limits();
  // No rows at all.
  test_rms_norm<float>({0, 8, 0, false});
  return report();
}

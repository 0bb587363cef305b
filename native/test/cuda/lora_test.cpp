// Low-rank terms of several adapters in one pass against loops in double.
//
// Tolerances: operands are of order one and u is kept in float32, so an error of 1e-5 is rounding, beside that of y to T
// (checks.h). Prompts go through the library with u, of order one, rounded to T: 2^-9 (bf16) or 2^-12 (half) at most. Their sum
// with a B of 1 / sqrt(rank) and a scale of up to 2.5 has a deviation of about 2^-8 or 2^-11; eight of these are allowed.
#include <list>
#include <vector>

#include "../../kernels/cuda/graph.h"
#include "../../kernels/cuda/lora_pass.h"
#include "checks.h"

namespace {

using namespace llama;
using namespace llama::cuda;
using namespace llama::checks;

template <class T>
constexpr double prompt_tolerance = 1e-5;
template <>
inline constexpr double prompt_tolerance<Bf16> = 0x1p-5;
template <>
inline constexpr double prompt_tolerance<Half> = 0x1p-8;

struct TermShape {
  int place, rank;
  int64_t in, out, column;
};

// Weights exactly as long as they are, and the table that names them. `shifted`: no pack is aligned to them.
template <class T>
struct TestAdapter {
  std::list<Matrix<T>> weights;
  std::vector<std::vector<LoraTerm<T>>> terms;
  std::unique_ptr<LoraTable> table;

  TestAdapter(LoraPass<T>& pass, int places, const std::vector<TermShape>& shapes, bool shifted = false) : terms(static_cast<size_t>(places)) {
    for (const TermShape& shape : shapes) {
      weights.emplace_back(shape.rank, shape.in, 0, shifted).fill(1 / std::sqrt(static_cast<float>(shape.in)));
      const T* a = weights.back().data;
      weights.emplace_back(shape.out, shape.rank, 0, shifted).fill(1 / std::sqrt(static_cast<float>(shape.rank)));
      terms[static_cast<size_t>(shape.place)].push_back({a, weights.back().data, shape.in, shape.out, shape.column, shape.rank, 0.5f + static_cast<float>(shape.rank % 3)});
    }
    table = pass.make_table(terms);
  }
};

// What a row of y becomes with these terms.
template <class T>
double expected(const std::vector<LoraTerm<T>>& terms, const T* x, double y, int64_t column) {
  for (const LoraTerm<T>& term : terms) {
    const int64_t output = column - term.column;
    if (output < 0 || output >= term.out) continue;
    double sum = 0;
    for (int r = 0; r < term.rank; ++r) {
      double u = 0;
      for (int64_t k = 0; k < term.in; ++k) u += static_cast<double>(to_float(x[k])) * to_float(term.a[r * term.in + k]);
      sum += u * to_float(term.b[output * term.rank + r]);
    }
    y += term.scale * sum;
  }
  return y;
}

template <class T>
struct TestSpan {
  const TestAdapter<T>* adapter;  // or null
  int64_t row, count;
};

struct Fixture {
  Gpu gpu{choose_card(probe(), 0)};
  Gemm gemm{gpu};
};

template <class T, class Y>
void check_pass(LoraPass<T>& pass, const std::vector<TestSpan<T>>& spans, int place, const Matrix<T>& x, int64_t width, double tolerance, bool shifted, const std::string& what) {
  const int64_t tokens = x.rows;
  std::vector<LoraSpan> plan;
  std::vector<const TestAdapter<T>*> adapters(static_cast<size_t>(tokens), nullptr);
  for (const TestSpan<T>& span : spans) {
    plan.push_back({span.adapter ? span.adapter->table.get() : nullptr, span.row, span.count});
    for (int64_t i = 0; i < span.count; ++i) adapters[static_cast<size_t>(span.row + i)] = span.adapter;
  }
  Matrix<Y> y(tokens, width, 3, shifted);
  y.fill();
  const Matrix<Y> before = y;
  pass.plan(plan, tokens);
  pass.add(place, x.data, x.ld, tokens, y.data, y.ld);
  finish();
  expect_close(y, before, tolerance, [&](int64_t row, int64_t column) {
    const TestAdapter<T>* adapter = adapters[static_cast<size_t>(row)];
    const double old = before.value(row, column);
    return adapter == nullptr ? old : expected(adapter->terms[static_cast<size_t>(place)], x.data + row * x.ld, old, column);
  }, what);
}

// Three adapters of different ranks, all, some or none of the terms at a place, and rows without one.
template <class T>
void test_mixed() {
  current = std::string("mixed ") + name_of<T>;
  struct Shape {
    int64_t in, out;
    int ranks[3];
    int64_t gap;
    bool shifted;
  };
  // The last one keeps a thread of shrink busy for several packs of its row.
  const Shape shapes[] = {{64, 48, {8, 16, 32}, 8, false}, {40, 136, {8, 8, 64}, 8, false}, {33, 29, {1, 3, 5}, 1, false}, {64, 40, {4, 12, 20}, 0, true}, {130, 67, {7, 9, 17}, 2, false}, {1, 1, {1, 2, 1}, 0, false}, {4104, 24, {8, 2, 3}, 8, false}};
  Fixture fixture;
  LoraPass<T> pass(fixture.gpu, fixture.gemm);
  for (const Shape& s : shapes) {
    const int64_t width = 3 * s.out + 5;
    TestAdapter<T> all(pass, 2, {{0, s.ranks[0], s.in, s.out, 0}, {0, s.ranks[1], s.in, s.out, s.out}, {0, s.ranks[2], s.in, s.out, 2 * s.out}, {1, s.ranks[2], s.in, s.out, 3}}, s.shifted);
    TestAdapter<T> some(pass, 2, {{0, s.ranks[1], s.in, s.out, s.out}}, s.shifted);
    TestAdapter<T> aligned(pass, 2, {{0, s.ranks[2], s.in, s.out, 0}, {0, s.ranks[0], s.in, s.out + 5, 2 * s.out}});
    const bool large = s.in > 1000;
    for (const int64_t tokens : {1, 3, 6}) {
      if (large && tokens == 1) continue;
      Matrix<T> x(tokens, s.in, s.gap, s.shifted);
      x.fill();
      std::vector<TestSpan<T>> spans;
      const TestAdapter<T>* turn[] = {&all, &some, nullptr, &aligned};
      for (int64_t row = 0, i = 0; row < tokens; ++i) {
        const int64_t count = std::min(tokens - row, random_int(1, 3));
        if (i % 2 == 0 || turn[i % 4] != nullptr) spans.push_back({turn[i % 4], row, count});
        row += count;
      }
      const std::string what = std::to_string(s.in) + "x" + std::to_string(s.out) + " tokens " + std::to_string(tokens);
      for (const int place : {0, 1}) {
        check_pass<T, T>(pass, spans, place, x, width, 1e-5, s.shifted, what);
        check_pass<T, float>(pass, spans, place, x, width, 1e-5, s.shifted, what + " onto float");
      }
      check_pass<T, T>(pass, {}, 0, x, width, 1e-9, false, "no adapter " + what);
    }
  }
}

// Ranks beyond a warp's packs, and more terms than rows.
template <class T>
void test_large_ranks() {
  current = std::string("large ranks ") + name_of<T>;
  Fixture fixture;
  LoraPass<T> pass(fixture.gpu, fixture.gemm);
  for (const int rank : {256, 300}) {
    TestAdapter<T> adapter(pass, 1, {{0, rank, 40, 19, 2}, {0, 8, 40, 140, 21}});
    for (const int64_t tokens : {1, 4}) {
      Matrix<T> x(tokens, 40);
      x.fill();
      check_pass<T, T>(pass, {{&adapter, 0, tokens}}, 0, x, 165, 1e-5, false, "rank " + std::to_string(rank));
    }
  }
}

// A row's result does not depend on the rows beside it.
template <class T>
void test_rows_alone() {
  current = std::string("rows alone ") + name_of<T>;
  Fixture fixture;
  LoraPass<T> pass(fixture.gpu, fixture.gemm);
  for (const int64_t in : {int64_t{2056}, int64_t{61}}) {
    TestAdapter<T> one(pass, 1, {{0, 16, in, 40, 0}, {0, 3, in, 40, 40}}), two(pass, 1, {{0, 24, in, 80, 0}});
    Matrix<T> x(9, in, 8);
    x.fill();
    Matrix<T> together(9, 80), start(9, 80);
    start.fill();
    std::memcpy(together.data, start.data, start.memory.size() * sizeof(T));
    const TestAdapter<T>* of_row[] = {&one, &one, &two, &one, nullptr, &two, &two, &two, &one};
    std::vector<LoraSpan> spans;
    for (int64_t row = 0; row < 9; ++row) spans.push_back({of_row[row] ? of_row[row]->table.get() : nullptr, row, 1});
    pass.plan(spans, 9);
    pass.add(0, x.data, x.ld, 9, together.data, together.ld);
    for (int64_t row = 0; row < 9; ++row) {
      Matrix<T> alone(1, 80);
      std::memcpy(alone.data, start.data + row * 80, 80 * sizeof(T));
      pass.plan({{spans[static_cast<size_t>(row)].table, 0, 1}}, 1);
      pass.add(0, x.data + row * x.ld, x.ld, 1, alone.data, alone.ld);
      finish();
      expect(std::memcmp(alone.data, together.data + row * 80, 80 * sizeof(T)) == 0, "row " + std::to_string(row) + " in " + std::to_string(in));
    }
  }
}

// Prompts through the library, beside rows that are not; A behind one another and apart.
template <class T>
void test_prompts() {
  current = std::string("prompts ") + name_of<T>;
  Fixture fixture;
  LoraPass<T> pass(fixture.gpu, fixture.gemm);
  for (const bool contiguous : {false, true}) {
    for (const int rank : {8, 5}) {
      constexpr int64_t in = 24, out = 21;
      TestAdapter<T> prompt(pass, 2, {{0, rank, in, out, 0}, {0, 16, in, out, out}, {0, 3, in, out + 2, 2 * out}, {1, rank, in, out, 1}});
      Matrix<T> stacked(rank + 16 + 3, in);
      if (contiguous) {
        stacked.fill(0.2f);
        int64_t row = 0;
        for (LoraTerm<T>& term : prompt.terms[0]) {
          term.a = stacked.data + row * in;
          row += term.rank;
        }
        prompt.table = pass.make_table(prompt.terms);
      }
      TestAdapter<T> other(pass, 2, {{0, 4, in, 2 * out, 5}, {1, 2, in, out, 0}});
      Matrix<T> x(77, in, 3);
      x.fill();
      const std::vector<TestSpan<T>> spans = {{&other, 0, 2}, {&prompt, 3, 33}, {&prompt, 36, 2}, {&other, 40, 34}, {nullptr, 74, 1}, {&prompt, 75, 2}};
      for (const int place : {0, 1}) {
        check_pass<T, T>(pass, spans, place, x, 3 * out + 2, prompt_tolerance<T>, false, "rank " + std::to_string(rank));
        check_pass<T, float>(pass, spans, place, x, 3 * out + 2, prompt_tolerance<T>, false, "rank " + std::to_string(rank) + " onto float");
      }
      check_pass<T, T>(pass, {{&prompt, 0, 77}}, 0, x, 3 * out + 2, prompt_tolerance<T>, false, "one prompt");
    }
  }
}

// A recording serves every mix of the adapters that its shape covers.
void test_recording() {
  current = "recording";
  Fixture fixture;
  LoraPass<float> pass(fixture.gpu, fixture.gemm);
  TestAdapter<float> one(pass, 1, {{0, 8, 32, 40, 0}}), two(pass, 1, {{0, 8, 32, 40, 0}}), wide(pass, 1, {{0, 8, 32, 41, 0}});
  constexpr int64_t tokens = 5;
  Matrix<float> x(tokens, 32), y(tokens, 41);
  x.fill();
  GraphCache graphs(fixture.gpu);
  int recorded = 0;
  const auto step = [&](const std::vector<TestSpan<float>>& spans, const std::string& what) {
    std::vector<LoraSpan> plan;
    std::vector<const TestAdapter<float>*> adapters(tokens, nullptr);
    for (const TestSpan<float>& span : spans) {
      plan.push_back({span.adapter->table.get(), span.row, span.count});
      for (int64_t i = 0; i < span.count; ++i) adapters[static_cast<size_t>(span.row + i)] = span.adapter;
    }
    y.fill();
    const Matrix<float> before = y;
    pass.plan(plan, tokens);
    graphs.replay(pass.shape(), [&] {
      ++recorded;
      pass.add(0, x.data, x.ld, tokens, y.data, y.ld);
    });
    finish();
    expect_close(y, before, 1e-5, [&](int64_t row, int64_t column) {
      const TestAdapter<float>* adapter = adapters[static_cast<size_t>(row)];
      return adapter == nullptr ? before.value(row, column) : expected(adapter->terms[0], x.data + row * x.ld, before.value(row, column), column);
    }, what);
  };
  step({{&one, 0, 3}, {&two, 3, 2}}, "first");
  step({{&one, 0, 3}, {&two, 3, 2}}, "recorded");
  step({{&two, 0, 1}, {&one, 2, 1}}, "replayed with other rows");
  step({{&two, 0, 5}}, "replayed with one adapter");
  expect(recorded == 2, "one recording serves them");
  step({{&two, 0, 4}, {&wide, 4, 1}}, "a wider adapter");
  step({}, "no adapter");
  step({{&one, 0, 3}}, "back to the recording");
  expect(recorded == 4, "other shapes are other recordings");
}

template <class T>
void test_type() {
  test_large_ranks<T>();
  test_rows_alone<T>();
  test_prompts<T>();
  test_mixed<T>();
}

}  // namespace

int main() {
  begin();
  test_type<float>();
  test_type<Bf16>();
  test_type<Half>();
  in_every_order([] { test_rows_alone<Bf16>(); });
  test_recording();
  return report();
}

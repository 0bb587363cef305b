// What the kernels' tests share: checks that count, random operands of every element type, and memory that is exactly as
// long as its contents, so that the address sanitizer sees an access past the end.
//
// The same tests run emulated and on a card. There the heap (managed_heap.cpp) is memory of host and card both, so what a
// kernel is given must lie in it: neither on the stack nor in a static array.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "../../kernels/cuda/device.h"
#include "../expect.h"
#if !defined(LLAMA_CUDA_EMULATED)
#include "managed_heap.h"
#endif

namespace llama::checks {

#if defined(LLAMA_CUDA_EMULATED)
inline constexpr bool on_card = false;
inline void begin() {}
inline void finish() {}
inline size_t shared_bytes(size_t wanted) { return wanted; }
#else
inline constexpr bool on_card = true;

// The first line of a program. Ends it, saying so, where there is no card.
inline void begin() { open_managed_heap(); }

// Waits for products, copies and replays before the host reads what they wrote; launches are waited for by themselves.
inline void finish() { cuda::check(cudaDeviceSynchronize()); }

// Of `wanted` what a block can have here.
inline size_t shared_bytes(size_t wanted) {
  int most = 0;
  cuda::check(cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0));
  return std::min(wanted, static_cast<size_t>(most));
}
#endif

inline int report() {
  const int status = summary();
#if !defined(LLAMA_CUDA_EMULATED)
  // Destructors of what is static would find the heap gone with CUDA.
  std::fflush(stdout);
  std::_Exit(status);
#endif
  return status;
}

inline std::mt19937 generator(1);

inline int64_t random_int(int64_t least, int64_t most) { return std::uniform_int_distribution<int64_t>(least, most)(generator); }

template <class T>
constexpr const char* name_of = "float";
template <>
inline constexpr const char* name_of<Bf16> = "bf16";
template <>
inline constexpr const char* name_of<Half> = "half";

// The relative error of rounding to T, twice over: results next to a tie may round either way.
template <class T>
constexpr double rounding = 0;
template <>
inline constexpr double rounding<Bf16> = 0x1p-8;
template <>
inline constexpr double rounding<Half> = 0x1p-10;

// A matrix with a gap between its rows and, if shifted, a start that no pack is aligned to.
template <class T>
struct Matrix {
  int64_t rows, width, ld;
  std::vector<T> memory;
  T* data;

  Matrix(int64_t rows_, int64_t width_, int64_t gap = 0, bool shifted = false)
      : rows(rows_), width(width_), ld(width_ + gap), memory(static_cast<size_t>(rows > 0 ? (rows - 1) * ld + width : 0) + (shifted ? 1 : 0)), data(memory.data() + (shifted ? 1 : 0)) {}
  Matrix(const Matrix& other) : rows(other.rows), width(other.width), ld(other.ld), memory(other.memory), data(memory.data() + (other.data - other.memory.data())) {}
  Matrix& operator=(const Matrix&) = delete;

  T& at(int64_t row, int64_t column) { return data[row * ld + column]; }
  double value(int64_t row, int64_t column) const { return static_cast<double>(cuda::to_float(data[row * ld + column])); }

  // Gaps too: what is written there by mistake shows.
  Matrix& fill(float scale = 1) {
    std::normal_distribution<float> normal(0, scale);
    for (T& element : memory) element = cuda::from_float<T>(normal(generator));
    return *this;
  }
};

template <class T>
bool same_bits(const Matrix<T>& a, const Matrix<T>& b) {
  return a.memory.size() == b.memory.size() && (a.memory.empty() || std::memcmp(a.memory.data(), b.memory.data(), a.memory.size() * sizeof(T)) == 0);
}

// |actual - expected(row, column)| <= tolerance + (tolerance + rounding to T) |expected|; gaps as they were in `before`.
template <class T, class Expected>
void expect_close(const Matrix<T>& actual, const Matrix<T>& before, double tolerance, Expected expected, const std::string& what) {
  double worst = 0;
  int64_t at = -1;
  Matrix<T> rest = actual;
  for (int64_t row = 0; row < actual.rows; ++row) {
    for (int64_t column = 0; column < actual.width; ++column) {
      const double right = expected(row, column), gap = std::abs(actual.value(row, column) - right);
      const double excess = gap / (tolerance + (tolerance + rounding<T>) * std::abs(right));
      if (!(excess <= worst)) worst = std::isnan(excess) ? INFINITY : excess, at = row * actual.width + column;
      rest.at(row, column) = before.data[row * before.ld + column];
    }
  }
  expect(worst <= 1, what + " " + name_of<T> + ": error is " + std::to_string(worst) + " of the tolerance at " + std::to_string(at));
  expect(same_bits(rest, before), what + " " + name_of<T> + ": wrote between the rows");
}

// Calls body once for each order in which a block's threads can run, and names it in messages; on a card, which chooses them
// itself, as often.
template <class Body>
void in_every_order(Body body) {
#if defined(LLAMA_CUDA_EMULATED)
  for (const auto order : {emulated::Order::forward, emulated::Order::reverse, emulated::Order::shuffled}) {
    emulated::order = order;
    current = "order " + std::to_string(static_cast<int>(order));
    body();
  }
  emulated::order = emulated::Order::forward;
#else
  for (int run = 0; run < 3; ++run) {
    current = "run " + std::to_string(run);
    body();
  }
#endif
  current.clear();
}

}  // namespace llama::checks

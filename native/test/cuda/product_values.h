// Operands and tolerances of the tests of products.
#pragma once
#include <cstring>
#include <random>
#include <vector>

#include "checks.h"

namespace llama::checks {

using Floats = std::vector<float>;

inline Floats random_floats(int64_t count, float scale = 1) {
  std::normal_distribution<float> normal(0, scale);
  Floats values(static_cast<size_t>(count));
  for (float& value : values) value = normal(generator);
  return values;
}

template <class T>
std::vector<T> rounded(const Floats& values) {
  std::vector<T> result(values.size());
  for (size_t i = 0; i < values.size(); ++i) result[i] = cuda::from_float<T>(values[i]);
  return result;
}

template <class T>
bool same(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

// Half a unit in the last place of T, and a little for float32.
template <class T>
constexpr double half_unit = 0x1p-22;
template <>
inline constexpr double half_unit<Bf16> = 0x1.01p-8;
template <>
inline constexpr double half_unit<Half> = 0x1.01p-11;

}  // namespace llama::checks

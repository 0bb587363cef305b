// The reference's quantised weights: bitsandbytes' bits, and the error each kind may have.
//
// The expected numbers of the fixed matrix are those of bitsandbytes 0.50.2 (quantize_4bit, nf4, blocks of 64, with and
// without compress_statistics) on the same matrix, whole tensors as FNV-1a hashes.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "../kernels/reference/quantized.h"
#include "expect.h"

namespace {

using namespace llama;
using reference::QuantizedMatrix;
using Floats = std::vector<float>;

using checks::expect;

uint64_t hash_of(const void* data, size_t bytes) {
  uint64_t hash = 14695981039346656037u;
  for (size_t i = 0; i < bytes; ++i) hash = (hash ^ static_cast<const unsigned char*>(data)[i]) * 1099511628211u;
  return hash;
}

constexpr int64_t fixed_rows = 150, fixed_cols = 131;  // blocks lie across rows, the last one is short

// Values that are exact in float32, a different size in every block, block 10 all zero.
Floats fixed_matrix() {
  Floats weights(fixed_rows * fixed_cols);
  for (int64_t i = 0; i < fixed_rows * fixed_cols; ++i) {
    const float value = static_cast<float>((i * 7919 + 13) % 2003 - 1001) / 1024;
    weights[static_cast<size_t>(i)] = i / 64 == 10 ? 0.0f : value * (1 + static_cast<float>(i / 64 % 37) / 64);
  }
  return weights;
}

Floats dequantized(const QuantizedMatrix& matrix) {
  Floats weights(static_cast<size_t>(matrix.rows * matrix.cols));
  reference::dequantize(matrix, weights.data());
  return weights;
}

void test_codebooks() {
  expect(hash_of(dynamic_codebook.at, sizeof dynamic_codebook.at) == 15454086911070985156u, "the dynamic code has bitsandbytes' bits");
  expect(dynamic_codebook.at[0] == -0.992968738079071f && dynamic_codebook.at[128] == 5.500000384017767e-07f, "ends of the dynamic code");
  for (int i = 0; i < 255; ++i) expect(dynamic_codebook.at[i] < dynamic_codebook.at[i + 1], "the dynamic code ascends");
  // As printed in bitsandbytes' sources. The middle of two float32 numbers may lie between two others: one unit apart at most.
  constexpr float midpoints[15] = {-0.8480964004993439f, -0.6106329262256622f, -0.4599952697753906f, -0.33967943489551544f, -0.23460740596055984f, -0.13791173323988914f, -0.045525018125772476f, 0.03979014977812767f, 0.1202552504837513f, 0.2035212516784668f, 0.2920137718319893f, 0.3893125355243683f, 0.5016634166240692f, 0.6427869200706482f, 0.8614784181118011f};
  for (int i = 0; i < 15; ++i) expect(std::abs(nf4_midpoints.at[i] - midpoints[i]) <= 6e-8f, "nf4 threshold " + std::to_string(i));
}

void test_bitsandbytes() {
  const Floats weights = fixed_matrix();
  const QuantizedMatrix once = reference::quantize(weights.data(), fixed_rows, fixed_cols, Quantization::nf4, false);
  const std::vector<uint8_t> first = {15, 238, 237, 203, 169, 135, 101, 67, 34, 17, 0, 255, 238, 221, 203, 169, 134, 84, 67, 33, 17, 0, 254, 238, 220, 186, 152, 118, 84, 50, 33, 16};
  expect(std::memcmp(once.codes.data(), first.data(), first.size()) == 0, "nf4: the first block's codes");
  expect(hash_of(once.codes.data(), once.codes.size()) == 3102065900975892450u, "nf4: all codes");
  const Floats scales = {0.96484375f, 0.977935791015625f, 1.000030517578125f, 1.0223388671875f};
  expect(std::memcmp(once.scales.data(), scales.data(), 16) == 0 && once.scales.size() == 308, "nf4: scales");
  const Floats values = dequantized(once);
  expect(hash_of(values.data(), values.size() * 4) == 12228935773144056367u, "nf4: dequantised");

  const QuantizedMatrix twice = reference::quantize(weights.data(), fixed_rows, fixed_cols, Quantization::nf4, true);
  expect(twice.codes == once.codes, "double quantisation leaves the codes");
  const std::vector<uint8_t> scale_codes = {55, 56, 57, 59, 59, 59, 61, 62, 63, 63, 0, 74, 79, 81, 82, 89};
  expect(std::memcmp(twice.scale_codes.data(), scale_codes.data(), scale_codes.size()) == 0, "double: the first scale codes");
  expect(hash_of(twice.scale_codes.data(), twice.scale_codes.size()) == 17486579261335740959u, "double: all scale codes");
  expect(twice.nested_scales == Floats({1.2275502681732178f, 0.6702229976654053f}), "double: nested scales");
  expect(twice.scale_offset == 1.2275502681732178f, "double: the scales' mean");
  const Floats again = dequantized(twice);
  expect(hash_of(again.data(), again.size() * 4) == 9020974797939889841u, "double: dequantised");
}

// The largest error a code can leave is half the widest gap between two values, times the scale.
void test_errors() {
  std::mt19937 generator(1);
  std::normal_distribution<float> normal(0, 0.02f);
  struct Shape {
    int64_t rows, cols;
  };
  for (const auto& [rows, cols] : {Shape{1, 1}, Shape{3, 5}, Shape{7, 64}, Shape{16, 129}, Shape{40, 512}}) {
    Floats weights(static_cast<size_t>(rows * cols));
    for (float& weight : weights) weight = normal(generator);
    for (size_t i = 0; i < std::min<size_t>(weights.size(), 64); ++i) weights[i] = rows > 3 ? 0.0f : weights[i];
    const std::string what = std::to_string(rows) + "x" + std::to_string(cols);
    const auto worst_of = [&](Quantization kind, bool twice, double gap) {
      const Floats values = dequantized(reference::quantize(weights.data(), rows, cols, kind, twice));
      double worst = 0;
      for (int64_t i = 0; i < rows * cols; ++i) {
        const int64_t first = kind == Quantization::int8 ? i / cols * cols : i / 64 * 64;
        const int64_t last = std::min(rows * cols, kind == Quantization::int8 ? first + cols : first + 64);
        double largest = 0;
        for (int64_t j = first; j < last; ++j) largest = std::max(largest, std::abs(static_cast<double>(weights[static_cast<size_t>(j)])));
        const double error = std::abs(static_cast<double>(values[static_cast<size_t>(i)]) - weights[static_cast<size_t>(i)]);
        if (!twice) expect(error <= gap * largest * 1.0001, what + ": an error of " + std::to_string(error) + " of " + std::to_string(largest));
        worst = std::max(worst, error);
      }
      return worst;
    };
    expect(worst_of(Quantization::int8, false, 0.5 / 127) < 0.001, "int8 " + what);
    expect(worst_of(Quantization::nf4, false, (1 - 0.6961928009986877) / 2) < 0.03, "nf4 " + what);
    // The other sign's largest may lie past 7: a whole step.
    expect(worst_of(Quantization::int4, false, 0.125) < 0.02, "int4 " + what);
    // Quantised scales are off by half a step of the dynamic code at most, 0.9 / 64 / 2 of the largest deviation.
    expect(worst_of(Quantization::nf4, true, 0) < 0.03, "nf4, twice, " + what);
    expect(worst_of(Quantization::int4, true, 0) < 0.02, "int4, twice, " + what);
  }
}

void test_extremes() {
  const Floats zeros(130, 0.0f);
  for (const Quantization kind : {Quantization::int8, Quantization::int4, Quantization::nf4}) {
    for (const bool twice : {false, true}) {
      expect(dequantized(reference::quantize(zeros.data(), 2, 65, kind, twice)) == zeros, "zeros stay zeros");
    }
    Floats tiny(65, 1e-40f);
    for (const float value : dequantized(reference::quantize(tiny.data(), 1, 65, kind, false))) {
      expect(std::abs(value) <= 1e-39f, "subnormal weights stay small");
    }
  }
  // int4 meets the element of largest magnitude whatever its sign.
  for (const float sign : {1.0f, -1.0f}) {
    Floats block(64, 0.25f);
    block[17] = 3 * sign;
    expect(dequantized(reference::quantize(block.data(), 1, 64, Quantization::int4, false))[17] == 3 * sign, "int4 meets its extreme");
  }
}

}  // namespace

int main() {
  test_codebooks();
  test_bitsandbytes();
  test_errors();
  test_extremes();
  return checks::summary();
}

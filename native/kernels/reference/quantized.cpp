#include "quantized.h"

#include <algorithm>
#include <cmath>

namespace llama::reference {

namespace {

void quantize_rows(const float* weights, QuantizedMatrix& to) {
  for (int64_t row = 0; row < to.rows; ++row) {
    const float* from = weights + row * to.cols;
    float largest = 0;
    for (int64_t k = 0; k < to.cols; ++k) largest = std::fmax(largest, std::fabs(from[k]));
    const bool is_finite = std::all_of(from, from + to.cols, [](float weight) { return std::isfinite(weight); });
    const float inverse = largest >= least_scaled ? 127.0f / largest : 0.0f;
    for (int64_t k = 0; k < to.cols; ++k) {
      const float code = std::fmin(127.0f, std::fmax(-127.0f, std::rint(from[k] * inverse)));
      to.codes[static_cast<size_t>(row * to.cols + k)] = static_cast<uint8_t>(static_cast<int8_t>(code));
    }
    to.scales[static_cast<size_t>(row)] = is_finite ? largest / 127.0f : NAN;
  }
}

template <int n>
int code_of(float value, const Codebook<n>& midpoints) {
  int code = 0;
  while (code < n && value > midpoints.at[code]) ++code;
  return code;
}

void quantize_block(const float* from, int64_t count, int64_t block, QuantizedMatrix& to) {
  float highest = 0, lowest = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (from[i] > highest) highest = from[i];
    if (from[i] < lowest) lowest = from[i];
  }
  float inverse;
  if (to.kind == Quantization::nf4) {
    const float largest = highest >= -lowest ? highest : -lowest;
    inverse = largest >= least_scaled ? 1.0f / largest : 0.0f;
    to.scales[static_cast<size_t>(block)] = largest;
  } else {
    const float extreme = highest >= -lowest ? highest : lowest;
    inverse = std::fabs(extreme) >= least_scaled ? -8.0f / extreme : 0.0f;
    to.scales[static_cast<size_t>(block)] = extreme * -0.125f;
  }
  const bool is_finite = std::all_of(from, from + count, [](float weight) { return std::isfinite(weight); });
  if (!is_finite) to.scales[static_cast<size_t>(block)] = NAN;
  for (int64_t i = 0; i < (count + 1) / 2 * 2; ++i) {
    const float scaled = i < count ? from[i] * inverse : 0.0f;
    const int code = to.kind == Quantization::nf4 ? code_of(scaled, nf4_midpoints)
                                                  : static_cast<int>(std::fmin(15.0f, std::fmax(0.0f, std::rint(scaled) + 8.0f)));
    uint8_t& byte = to.codes[static_cast<size_t>((block * weights_per_scale + i) / 2)];
    byte = static_cast<uint8_t>(i % 2 == 0 ? code << 4 : byte | code);
  }
}

// Summed as 1,024 interleaved partial sums, then by halves: an order that a thread block can follow.
float mean_of(const std::vector<float>& values) {
  std::vector<double> sums(1024, 0.0);
  for (size_t i = 0; i < values.size(); ++i) sums[i % 1024] += values[i];
  for (size_t half = 512; half > 0; half /= 2) {
    for (size_t i = 0; i < half; ++i) sums[i] += sums[i + half];
  }
  return static_cast<float>(sums[0] / static_cast<double>(values.size()));
}

void quantize_scales(QuantizedMatrix& matrix) {
  const auto blocks = static_cast<int64_t>(matrix.scales.size());
  matrix.scale_offset = mean_of(matrix.scales);
  matrix.scale_codes.resize(matrix.scales.size());
  for (int64_t first = 0; first < blocks; first += scales_per_nested) {
    const int64_t last = std::min(first + scales_per_nested, blocks);
    float largest = 0;
    for (int64_t i = first; i < last; ++i) {
      largest = std::fmax(largest, std::fabs(matrix.scales[static_cast<size_t>(i)] - matrix.scale_offset));
    }
    const float inverse = largest >= least_scaled ? 1.0f / largest : 0.0f;
    for (int64_t i = first; i < last; ++i) {
      const float scaled = (matrix.scales[static_cast<size_t>(i)] - matrix.scale_offset) * inverse;
      matrix.scale_codes[static_cast<size_t>(i)] = static_cast<uint8_t>(code_of(scaled, dynamic_midpoints));
    }
    matrix.nested_scales.push_back(largest);
  }
  matrix.scales.clear();
}

float scale_of(const QuantizedMatrix& matrix, int64_t block) {
  if (!matrix.scales.empty()) return matrix.scales[static_cast<size_t>(block)];
  const double code = dynamic_codebook.at[matrix.scale_codes[static_cast<size_t>(block)]];
  // Rounded before the sum: a double holds the product exactly, so that no compiler can fuse the two roundings into one.
  return static_cast<float>(code * matrix.nested_scales[static_cast<size_t>(block / scales_per_nested)]) + matrix.scale_offset;
}

}  // namespace

QuantizedMatrix quantize(const float* weights, int64_t rows, int64_t cols, Quantization kind, bool double_quantized) {
  QuantizedMatrix matrix;
  matrix.kind = kind;
  matrix.rows = rows;
  matrix.cols = cols;
  const int64_t count = rows * cols;
  if (kind == Quantization::int8) {
    matrix.codes.resize(static_cast<size_t>(count));
    matrix.scales.resize(static_cast<size_t>(rows));
    quantize_rows(weights, matrix);
    return matrix;
  }
  const int64_t blocks = (count + weights_per_scale - 1) / weights_per_scale;
  matrix.codes.resize(static_cast<size_t>((count + 1) / 2));
  matrix.scales.resize(static_cast<size_t>(blocks));
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t first = block * weights_per_scale;
    quantize_block(weights + first, std::min(weights_per_scale, count - first), block, matrix);
  }
  if (double_quantized) quantize_scales(matrix);
  return matrix;
}

void dequantize(const QuantizedMatrix& matrix, float* weights) {
  const int64_t count = matrix.rows * matrix.cols;
  for (int64_t i = 0; i < count; ++i) {
    if (matrix.kind == Quantization::int8) {
      weights[i] = static_cast<float>(static_cast<int8_t>(matrix.codes[static_cast<size_t>(i)])) * matrix.scales[static_cast<size_t>(i / matrix.cols)];
      continue;
    }
    const int byte = matrix.codes[static_cast<size_t>(i / 2)];
    const int code = i % 2 == 0 ? byte >> 4 : byte & 15;
    const float value = matrix.kind == Quantization::nf4 ? nf4_codebook.at[code] : int4_codebook.at[code];
    weights[i] = value * scale_of(matrix, i / weights_per_scale);
  }
}

}  // namespace llama::reference

// What a product multiplies of quantised weights, on the host.
#pragma once
#include <cstdint>
#include <vector>

#include "../../kernels/cuda/device.h"
#include "../../kernels/cuda/quantized.h"
#include "../../kernels/reference/quantized.h"

namespace llama::checks {

// The device's view of a matrix in the heap.
inline cuda::QuantizedView view_of(reference::QuantizedMatrix& matrix) {
  cuda::QuantizedView view;
  view.kind = matrix.kind;
  view.rows = matrix.rows;
  view.cols = matrix.cols;
  view.codes = matrix.codes.data();
  if (matrix.scale_codes.empty()) {
    view.scales = matrix.scales.data();
  } else {
    view.scale_codes = matrix.scale_codes.data();
    view.nested_scales = matrix.nested_scales.data();
    view.scale_offset = &matrix.scale_offset;
  }
  return view;
}

// The weights as they are.
inline std::vector<double> values_of(const reference::QuantizedMatrix& matrix) {
  std::vector<float> floats(static_cast<size_t>(matrix.rows * matrix.cols));
  reference::dequantize(matrix, floats.data());
  return {floats.begin(), floats.end()};
}

// NF4's as tensor cores have them: code values rounded to T, scaled after the product.
template <class T>
std::vector<double> rounded_values_of(const reference::QuantizedMatrix& matrix) {
  std::vector<double> values = values_of(matrix);
  for (size_t i = 0; i < values.size(); ++i) {
    const int byte = matrix.codes[i / 2];
    const float exact = nf4_codebook.at[i % 2 == 0 ? byte >> 4 : byte & 15];
    if (exact != 0) values[i] *= static_cast<double>(cuda::to_float(cuda::from_float<T>(exact))) / exact;
  }
  return values;
}

}  // namespace llama::checks

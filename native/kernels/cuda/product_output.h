// Where a product goes: rounded to T, or as float32, over or onto what is there (the residual stream).
#pragma once
#include "device.h"

namespace llama::cuda {

template <class T>
struct ProductOutput {
  T* rounded = nullptr;
  float* sums = nullptr;
  int64_t ld = 0;
  bool accumulate = false;

  static ProductOutput of(T* y, int64_t ldy) { return {y, nullptr, ldy, false}; }
  static ProductOutput f32(float* y, int64_t ldy, bool accumulate) { return {nullptr, y, ldy, accumulate}; }

  __device__ void put(int64_t token, int64_t row, float value) const {
    if (rounded != nullptr) {
      rounded[token * ld + row] = from_float<T>(value);
    } else {
      float& at = sums[token * ld + row];
      at = accumulate ? at + value : value;
    }
  }
};

}  // namespace llama::cuda

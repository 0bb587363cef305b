// A grow-only array of float32 whose contents are lost when it grows.
#pragma once
#include <cstdint>
#include <new>

#include "aligned_buffer.h"

namespace llama {

class FloatBuffer {
 public:
  // Room for rows * cols elements; their values are undefined.
  float* reserve(int64_t rows, int64_t cols) {
    int64_t bytes;
    if (__builtin_mul_overflow(rows, cols, &bytes) || __builtin_mul_overflow(bytes, int64_t{4}, &bytes)) {
      throw std::bad_alloc();
    }
    buffer_.reserve(static_cast<size_t>(bytes));
    return data();
  }

  float* data() const { return static_cast<float*>(buffer_.data()); }
  size_t bytes() const { return buffer_.bytes(); }

 private:
  AlignedBuffer buffer_;
};

}  // namespace llama

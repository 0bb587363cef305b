// A grow-only array in the memory of a device, whose contents are lost when it grows.
#pragma once
#include <cstdint>
#include <memory>
#include <new>
#include <vector>

#include "memory.h"

namespace llama {

template <class E>
class Buffer {
 public:
  // Room for rows * cols elements; their values are undefined.
  E* reserve(Device& device, int64_t rows, int64_t cols = 1) {
    int64_t bytes;
    if (__builtin_mul_overflow(rows, cols, &bytes) ||
        __builtin_mul_overflow(bytes, static_cast<int64_t>(sizeof(E)), &bytes)) {
      throw std::bad_alloc();
    }
    if (!memory_ || static_cast<size_t>(bytes) > memory_->bytes) {
      memory_.reset();  // first: two generations of a large buffer may not fit
      memory_ = device.allocate(static_cast<size_t>(bytes));
    }
    return data();
  }

  // The values, in the device's memory.
  E* hold(Device& device, const std::vector<E>& values) {
    E* to = reserve(device, static_cast<int64_t>(values.size()));
    device.upload(to, values.data(), values.size() * sizeof(E));
    return to;
  }

  E* data() const { return memory_ ? static_cast<E*>(memory_->data) : nullptr; }
  size_t bytes() const { return memory_ ? memory_->bytes : 0; }

 private:
  std::unique_ptr<Memory> memory_;
};

}  // namespace llama

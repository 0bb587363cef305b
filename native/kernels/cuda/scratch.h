// Device memory that an operation writes and reads within itself. Grows in powers of two, so that recordings, which a growth
// ends, are soon steady.
#pragma once
#include <bit>
#include <memory>

#include "../memory.h"

namespace llama::cuda {

class Scratch {
 public:
  void* reserve(Device& device, size_t bytes) {
    if (!memory_ || memory_->bytes < bytes) {
      memory_.reset();
      memory_ = device.allocate(std::bit_ceil(bytes < 4096 ? size_t{4096} : bytes));
    }
    return memory_->data;
  }
  void* data() const { return memory_ ? memory_->data : nullptr; }

 private:
  std::unique_ptr<Memory> memory_;
};

}  // namespace llama::cuda

// NVIDIA's management library, which comes with the driver: what it says without starting CUDA on a card.
#pragma once
#include <cstddef>
#include <optional>
#include <string>

#include "shared_library.h"

namespace llama::cuda {

class Nvml {
 public:
  Nvml();
  ~Nvml();
  Nvml(const Nvml&) = delete;
  Nvml& operator=(const Nvml&) = delete;

  // The driver's release, "580.65.06"; empty where the library is not there.
  std::string driver() const;

  struct CardMemory {
    size_t total_bytes, free_bytes;
  };
  // Of the whole card at a PCI address, as cudaDeviceGetPCIBusId writes it.
  std::optional<CardMemory> memory(const char* pci) const;

 private:
  SharedLibrary library_;
  bool started_ = false;
};

}  // namespace llama::cuda

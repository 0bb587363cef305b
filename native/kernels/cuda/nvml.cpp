#include "nvml.h"

namespace llama::cuda {
namespace {

// From nvml.h, which a toolkit may lack; the library's interface keeps these as they are. 0 is success.
using Device = void*;
struct Memory {
  unsigned long long total, free, used;
};
using Init = int (*)();
using Shutdown = int (*)();
using DriverVersion = int (*)(char*, unsigned);
using HandleByPci = int (*)(const char*, Device*);
using MemoryInfo = int (*)(Device, Memory*);

}  // namespace

Nvml::Nvml() : library_("libnvidia-ml.so.1") {
  Init init;
  started_ = library_.find("nvmlInit_v2", init) && init() == 0;
}

Nvml::~Nvml() {
  Shutdown shutdown;
  if (started_ && library_.find("nvmlShutdown", shutdown)) shutdown();
}

std::string Nvml::driver() const {
  DriverVersion version;
  char text[96] = "";
  if (!started_ || !library_.find("nvmlSystemGetDriverVersion", version)) return "";
  return version(text, sizeof text) == 0 ? text : "";
}

std::optional<Nvml::CardMemory> Nvml::memory(const char* pci) const {
  HandleByPci find;
  MemoryInfo info;
  Device device = nullptr;
  Memory memory{};
  if (!started_ || !library_.find("nvmlDeviceGetHandleByPciBusId_v2", find) || find(pci, &device) != 0) return {};
  if (!library_.find("nvmlDeviceGetMemoryInfo", info) || info(device, &memory) != 0) return {};
  return CardMemory{static_cast<size_t>(memory.total), static_cast<size_t>(memory.free)};
}

}  // namespace llama::cuda

#include "probe.h"

#include <algorithm>
#include <cctype>
#include <fstream>
#include <iterator>
#include <sstream>

#include "nvml.h"
#include "runtime.h"

namespace llama::cuda {
namespace {

// NVIDIA's CUDA compatibility guide: a driver runs every toolkit of its major version.
constexpr const char* needed_release = CUDART_VERSION >= 13000 ? "580" : "525";
constexpr int needed_capability = 75;
#if !defined(LLAMA_CUDA_CODE)
#define LLAMA_CUDA_CODE "75-real 80-real 86-real 89-real 90-real 90-virtual"
#endif

Driver find_driver(const Nvml& nvml) {
  Driver driver;
  if (cudaDriverGetVersion(&driver.cuda) != cudaSuccess) driver.cuda = 0;
  std::ifstream file("/proc/driver/nvidia/version");
  driver.release = driver_release({std::istreambuf_iterator<char>(file), {}});
  if (driver.release.empty()) driver.release = nvml.driver();
  return driver;
}

size_t free_bytes(const Card& card, const Nvml& nvml) {
  char pci[32] = "";
  if (cudaDeviceGetPCIBusId(pci, sizeof pci, card.index) == cudaSuccess) {
    const auto memory = nvml.memory(pci);
    // A slice of a card has less memory than the card that the library speaks of.
    if (memory && memory->total_bytes / 4 * 3 < card.total_bytes) return std::min(memory->free_bytes, card.total_bytes);
  }
  size_t free = 0, total = 0;
  if (cudaSetDevice(card.index) != cudaSuccess || cudaMemGetInfo(&free, &total) != cudaSuccess) free = 0;
  return free;
}

std::string capability(const Card& card) { return std::to_string(card.major) + "." + std::to_string(card.minor); }

}  // namespace

std::string driver_release(const std::string& text) {
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    const bool digits = word.find_first_not_of("0123456789.") == std::string::npos;
    if (digits && word.find('.') != std::string::npos && word.front() != '.') return word;
  }
  return "";
}

std::string driver_problem(const Driver& driver) {
  if (driver.cuda == 0 && driver.release.empty()) return "no NVIDIA driver found";
  if (driver.cuda == 0) {
    return "driver " + driver.release + " found, but not its libcuda.so.1: a container must be started with its GPUs and " +
           "NVIDIA_DRIVER_CAPABILITIES=compute,utility";
  }
  if (driver.cuda / 1000 >= CUDART_VERSION / 1000) return "";
  if (driver.release.empty()) {
    return "a driver for CUDA " + std::to_string(driver.cuda / 1000) + "." + std::to_string(driver.cuda % 1000 / 10) +
           " found, driver " + needed_release + " needed";
  }
  return "driver " + driver.release.substr(0, driver.release.find('.')) + " found, " + needed_release + " needed";
}

bool has_code_for(const std::string& architectures, int capability, bool can_compile) {
  std::istringstream words(architectures);
  for (std::string word; words >> word;) {
    size_t digits = 0;
    while (digits < word.size() && std::isdigit(static_cast<unsigned char>(word[digits])) != 0) ++digits;
    if (digits == 0) return true;  // "native", "all": nothing that could be refused
    const int built_for = std::stoi(word.substr(0, digits));
    const bool is_exact = digits < word.size() && word[digits] != '-';  // "90a"
    const bool is_real = !word.ends_with("-virtual"), is_virtual = !word.ends_with("-real");
    if (is_real && built_for / 10 == capability / 10 && (is_exact ? built_for == capability : built_for <= capability)) return true;
    if (is_virtual && !is_exact && can_compile && built_for <= capability) return true;
  }
  return false;
}

Probe probe() {
  const Nvml nvml;
  const Driver driver = find_driver(nvml);
  Probe result;
  result.reason = driver_problem(driver);
  if (!result.reason.empty()) return result;

  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaErrorNoDevice || (status == cudaSuccess && count == 0)) {
    result.reason = "the NVIDIA driver shows no GPU";
  } else if (status != cudaSuccess) {
    result.reason = std::string("CUDA does not start: ") + cudaGetErrorString(status);
  }
  std::string refused;
  for (int index = 0; index < count && status == cudaSuccess; ++index) {
    cudaDeviceProp properties;
    const cudaError_t read = cudaGetDeviceProperties(&properties, index);
    Card card;
    card.index = index;
    if (read != cudaSuccess) {
      refused += (refused.empty() ? "GPU " : "; GPU ") + std::to_string(index) + " reports: " + cudaGetErrorString(read);
      continue;
    }
    card.name = properties.name;
    card.major = properties.major;
    card.minor = properties.minor;
    card.multiprocessors = properties.multiProcessorCount;
    card.total_bytes = properties.totalGlobalMem;
    if (card.major * 10 + card.minor < needed_capability) {
      refused += (refused.empty() ? "" : "; ") + card.name + " has compute capability " + capability(card) + ", 7.5 is needed";
      continue;
    }
    // PTX is compiled by drivers that are as new as the toolkit that made it.
    if (!has_code_for(LLAMA_CUDA_CODE, card.major * 10 + card.minor, driver.cuda >= CUDART_VERSION)) {
      refused += (refused.empty() ? "" : "; ") + card.name + " has compute capability " + capability(card) + ", the module is built for " + LLAMA_CUDA_CODE +
                 (driver.cuda >= CUDART_VERSION ? "" : ", and driver " + driver.release + " cannot compile it for later cards");
      continue;
    }
    card.free_bytes = free_bytes(card, nvml);
    result.cards.push_back(std::move(card));
  }
  if (result.cards.empty() && result.reason.empty()) result.reason = refused;
  cudaGetLastError();  // a refusal is no fault of the calls to come
  return result;
}

Card choose_card(const Probe& probe, int index) {
  if (probe.cards.empty()) throw EngineError("ENGINE_UNAVAILABLE", "no GPU can be used: " + probe.reason);
  if (index < 0) {
    return *std::max_element(probe.cards.begin(), probe.cards.end(),
                             [](const Card& a, const Card& b) { return a.free_bytes < b.free_bytes; });
  }
  std::string usable;
  for (const Card& card : probe.cards) {
    if (card.index == index) return card;
    usable += (usable.empty() ? "" : ", ") + std::to_string(card.index) + " (" + card.name + ")";
  }
  throw EngineError("ENGINE_UNAVAILABLE", "GPU " + std::to_string(index) + " cannot be used; there are " + usable);
}

}  // namespace llama::cuda

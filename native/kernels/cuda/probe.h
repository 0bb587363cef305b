// Which cards this machine has, or why none can be used.
#pragma once
#include <cstddef>
#include <string>
#include <vector>

namespace llama::cuda {

struct Card {
  int index = 0;  // CUDA's, after CUDA_VISIBLE_DEVICES
  std::string name;
  int major = 0, minor = 0;  // compute capability
  int multiprocessors = 0;
  size_t total_bytes = 0, free_bytes = 0;
};

struct Probe {
  std::vector<Card> cards;  // usable ones
  std::string reason;       // why there are none: "no NVIDIA driver found"; empty where there are
};

// Starts CUDA on no card where the driver's management library is there.
Probe probe();

// The card with this index or, for -1, the one with the most free memory. Throws EngineError ENGINE_UNAVAILABLE.
Card choose_card(const Probe& probe, int index);

struct Driver {
  int cuda = 0;         // the latest CUDA that it runs, 1000 major + 10 minor; 0: libcuda is not there
  std::string release;  // "580.65.06"; empty where nothing says it
};

// The release in the text of /proc/driver/nvidia/version, or empty.
std::string driver_release(const std::string& text);
// Why nothing runs on this driver: "driver 550 found, 580 needed"; empty where it is recent enough.
std::string driver_problem(const Driver& driver);

// Whether a module with code for these architectures, in CMake's words ("89-real 90-virtual"), runs on a card of this compute
// capability (12.0: 120): real code serves its generation from its own step on, a virtual one all later cards whose driver
// can compile it.
bool has_code_for(const std::string& architectures, int capability, bool can_compile);

}  // namespace llama::cuda

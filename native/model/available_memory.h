// How much memory can still be had. The kernel grants far more address space than there is memory and ends the process
// later, so large requests are compared with this first.
#pragma once
#include <cstdint>
#include <string>

namespace llama {

// Bytes, the smaller of the machine's and the container's; INT64_MAX when unknown.
int64_t available_memory();

// Throws EngineError OUT_OF_MEMORY: "<what> needs x GB, y GB are available".
void require_memory(int64_t bytes, const std::string& what);

}  // namespace llama
